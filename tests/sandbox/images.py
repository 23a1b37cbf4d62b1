"""Images made of a few files, for tests that ask an engine about strange ones."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any


def import_image(api: Any, name: str, files: Mapping[str, bytes], changes: Sequence[str] = ()) -> str:
    """Make an image of these files (all of them can be run) and give it that name; its id."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    answer = api.import_image_from_data(archive.getvalue(), changes=list(changes))
    made = str(json.loads(answer.splitlines()[-1])["status"])
    repository, _, tag = name.partition(":")
    api.tag(made, repository, tag)
    return made
