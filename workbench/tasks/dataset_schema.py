"""What a `datasets/<id>.yaml` may say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from workbench.tasks.errors import TaskFileError
from workbench.tasks.schema import FunctionName, Identifier, Part, RelativePath
from workbench.yamlfile import Place, read_yaml

Options = dict[str, int | float | str | bool]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class LocalSource(Part):
    """Files that the user brings."""

    kind: Literal["local"]
    folder: RelativePath
    """In the folder of `$MLGYM_DATA`."""
    files: Annotated[dict[RelativePath, Sha256 | None], Field(min_length=1)]
    """Each with the checksum of its known form, where there is one. Others are taken, and their scores labelled."""
    how: Annotated[str, Field(min_length=1)]
    """Where to get them, for the message that they are missing."""


class InstalledSource(Part):
    """The same data as a Debian package lays them out: taken where they are there, without the network."""

    package: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]+$")]
    folder: Annotated[str, Field(pattern="^/")]
    files: Annotated[dict[RelativePath, Sha256 | None], Field(min_length=1)]
    function: FunctionName
    """Of the file that `prepare` names: returns rows by split, from the files in `making.source`."""


class HuggingFaceSource(Part):
    """A dataset of the Hugging Face Hub, through the `datasets` library."""

    kind: Literal["huggingface"]
    repo: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")]
    revision: Annotated[str, Field(min_length=1)]
    """A commit or a tag: what is fetched must not change."""
    config: str | None = None
    splits: Annotated[dict[str, str], Field(min_length=1)]
    """Our name of a split → theirs."""
    installed: InstalledSource | None = None
    """Another place where the same data may be."""


class HubFilesSource(Part):
    """Files of a repository of the Hugging Face Hub: weights, tokenizers, archives, shards.

    Where a folder of the dataset's id in that of `$MLGYM_DATA` has them all, they are taken from there.
    """

    kind: Literal["hub-files"]
    repo: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")]
    repo_type: Literal["model", "dataset"] = "model"
    revision: Annotated[str, Field(min_length=1)]
    """A commit or a tag: what is fetched must not change."""
    files: Annotated[dict[RelativePath, Sha256 | None], Field(min_length=1)]
    """Paths in the repository, or patterns of such (`*.bin`), each with its checksum, where that is known."""


class GeneratedSource(Part):
    """Nothing but a seed: `prepare` makes it all."""

    kind: Literal["generator"]
    seed: int = 0
    options: Options = Field(default_factory=dict)


class MakerSpec(Part):
    """The Python function that makes the public and the secret part; it is given a `Making`."""

    file: RelativePath
    function: FunctionName = "prepare"


class StandInSpec(Part):
    """The small generated stand-in, in the same format."""

    function: FunctionName | None = None
    """Makes what the source would be (files in `making.source`, or it returns rows by split); `prepare` follows.
    Without one, `prepare` is run with the seed and options below."""
    seed: int = 0
    options: Options = Field(default_factory=dict)


class DatasetSpec(Part):
    """A whole file."""

    id: Identifier
    name: Annotated[str, Field(min_length=1)]
    licence: str = ""
    size: str = ""
    """In words: "0.5 MB"."""
    source: Annotated[LocalSource | HuggingFaceSource | HubFilesSource | GeneratedSource, Field(discriminator="kind")]
    prepare: MakerSpec
    tiny: StandInSpec | None = None


def read_dataset(file: Path) -> DatasetSpec:
    """The dataset of a file, checked as a whole. Raises TaskFileError."""

    def check(spec: DatasetSpec) -> Iterator[tuple[Place, str]]:
        if not (file.parent / spec.prepare.file).is_file():
            yield ("prepare", "file"), f"the file {spec.prepare.file!r} is not there"
        if spec.id != file.stem:
            yield ("id",), f"must be the name of the file, {file.stem!r}"

    return read_yaml(file, DatasetSpec, like="the shipped datasets", fault=TaskFileError, check=check)
