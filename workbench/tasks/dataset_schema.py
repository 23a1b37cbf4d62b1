"""What a `datasets/<id>.yaml` may say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from workbench.tasks.errors import TaskFileError
from workbench.tasks.schema import FunctionName, Identifier, RelativePath
from workbench.yamlfile import NotEmpty, Part, Place, read_yaml

Options = dict[str, int | float | str | bool]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class LocalSource(Part, frozen=True, kw_only=True, tag_field="kind", tag="local"):
    """Files that the user brings."""

    kind: ClassVar[Literal["local"]] = "local"
    folder: RelativePath
    """In the folder of `$MLGYM_DATA`."""
    files: Annotated[dict[RelativePath, Sha256 | None], Meta(min_length=1)]
    """Each with the checksum of its known form, if there is one. Files with another checksum are accepted, and their
    scores labelled.
    """
    how: NotEmpty
    """Where to get them, for the message that they are missing."""


class InstalledSource(Part, frozen=True, kw_only=True):
    """The same data as files of a Debian package, which are used if it is installed."""

    package: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.+-]+\Z")]
    folder: Annotated[str, Meta(pattern=r"^/")]
    files: Annotated[dict[RelativePath, Sha256 | None], Meta(min_length=1)]
    function: FunctionName
    """A function in the file that `prepare` names. It returns rows by split, from the files in `making.source`."""


class HuggingFaceSource(Part, frozen=True, kw_only=True, tag_field="kind", tag="huggingface"):
    """A dataset of the Hugging Face Hub, through the `datasets` library."""

    kind: ClassVar[Literal["huggingface"]] = "huggingface"
    repo: Annotated[str, Meta(pattern=r"^[\w.-]+(/[\w.-]+)?\Z")]
    revision: NotEmpty
    """A commit or a tag: what is fetched must not change."""
    config: str | None = None
    splits: Annotated[dict[str, str], Meta(min_length=1)]
    """Our name of a split → theirs."""
    installed: InstalledSource | None = None
    """Another place where the same data may be."""


class HubFilesSource(Part, frozen=True, kw_only=True, tag_field="kind", tag="hub-files"):
    """Files of a repository of the Hugging Face Hub: weights, tokenizers, archives, shards.

    Where a folder of the dataset's id in that of `$MLGYM_DATA` has them all, they are taken from there.
    """

    kind: ClassVar[Literal["hub-files"]] = "hub-files"
    repo: Annotated[str, Meta(pattern=r"^[\w.-]+(/[\w.-]+)?\Z")]
    repo_type: Literal["model", "dataset"] = "model"
    revision: NotEmpty
    """A commit or a tag: what is fetched must not change."""
    files: Annotated[dict[RelativePath, Sha256 | None], Meta(min_length=1)]
    """Paths in the repository, or patterns of such (`*.bin`), each with its checksum, where that is known."""


class GeneratedSource(Part, frozen=True, kw_only=True, tag_field="kind", tag="generator"):
    """There is no source but a seed: `prepare` generates all the data."""

    kind: ClassVar[Literal["generator"]] = "generator"
    seed: int = 0
    options: Options = {}


class MakerSpec(Part, frozen=True, kw_only=True):
    """The Python function that makes the public and the secret part; it is given a `Making`."""

    file: RelativePath
    function: FunctionName = "prepare"


class StandInSpec(Part, frozen=True, kw_only=True):
    """The small generated stand-in, in the same format."""

    function: FunctionName | None = None
    """Makes what the source would provide (files in `making.source`, or it returns rows by split); `prepare` follows.
    Without one, `prepare` is run with the seed and options below.
    """
    seed: int = 0
    options: Options = {}


class DatasetSpec(Part, frozen=True, kw_only=True):
    """A whole file."""

    id: Identifier
    name: NotEmpty
    licence: str = ""
    size: str = ""
    """In words: "0.5 MB"."""
    source: LocalSource | HuggingFaceSource | HubFilesSource | GeneratedSource
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
