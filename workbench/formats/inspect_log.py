"""Logs of Inspect: `.eval` (a zip of samples) and `.json`, of which each sample in each epoch is a run."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import msgspec

from workbench.formats.archive import Archive
from workbench.formats.building import TrajectoryBuilder
from workbench.formats.inspect_events import Sample
from workbench.formats.inspect_sample import SampleReader
from workbench.formats.reading import decode, map_file, record, refuse_crowded, text
from workbench.session.recording import Recording, RecordingError

SOURCE = "inspect"
_SHOWN = 6


class _Name(msgspec.Struct):
    id: Any = ""
    epoch: Any = 1


class _Log(msgspec.Struct):
    status: Any = "started"
    eval: Any = None
    samples: list[msgspec.Raw] | None = None


def runs_in_inspect(path: Path) -> list[str]:
    """`SAMPLE/EPOCH` of each sample that the log holds."""
    with _Source(path) as source:
        return list(source.names)


def read_inspect(path: Path, sample: str = "") -> Recording:
    """The events of one sample; `sample` (`ID/EPOCH`) says which where there are several. Raises RecordingError."""
    with _Source(path) as source:
        names = list(source.names)
        fitting = [name for name in names if sample in ("", name, name.rpartition("/")[0])]
        if len(fitting) > 1 or (names and not fitting):
            which = ", ".join(f"{path.name}#{name}" for name in (fitting or names)[:_SHOWN])
            more = ", …" if len(fitting or names) > _SHOWN else ""
            said = f"has no sample {sample}" if not fitting else f"holds {len(fitting)} runs"
            raise RecordingError(f"{path} {said}", f"open one of them: {which}{more}")
        if not names:
            builder = TrajectoryBuilder(path, SOURCE)
            builder.start(text(source.spec.get("task")), model=text(source.spec.get("model")))
            builder.problems += source.problems
            builder.problems.append(f"it holds no sample (its status is {source.status}): all that ran is lost")
            builder.end(source.status)
            return builder.recording()
        found = source.sample(fitting[0])
    recording = SampleReader(path, source.spec, source.status, found, len(names)).read()
    recording.problems += source.problems
    return recording


class _Source:
    """A log, whichever way it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: dict[str, Any] = {}
        """Name of each sample → where it is."""
        self.problems: list[str] = []
        data = map_file(path)
        self._archive = Archive(path) if data[:4] == b"PK\3\4" else None
        if self._archive is not None:
            self.problems += filter(None, [self._archive.problem])
            for name in self._archive.members:
                if name.startswith("samples/") and name.endswith(".json"):
                    ident, _, epoch = name[len("samples/") : -len(".json")].rpartition("_epoch_")
                    self.names[f"{ident}/{epoch}"] = name
            head = next((each for each in ("header.json", "_journal/start.json") if each in self._archive.members), "")
            if not head:
                raise RecordingError(f"{path} is a zip file, but no log of Inspect", "it has no header.json")
            log = decode(self._archive.read(head), _Log, f"{path}: {head}")
        else:
            refuse_crowded(data, str(path), times=4)
            log = decode(data, _Log, str(path))
            for raw in log.samples or []:
                found = decode(raw, _Name, str(path))
                self.names[f"{found.id}/{found.epoch}"] = raw
        self.spec = record(log.eval)
        self.status = text(log.status) or "started"

    def __enter__(self) -> _Source:
        return self

    def __exit__(self, *_: object) -> None:
        if self._archive is not None:
            self._archive.__exit__()

    def sample(self, name: str) -> Sample:
        data: bytes | mmap.mmap | msgspec.Raw = self.names[name]
        if self._archive is not None:
            data = self._archive.read(self.names[name])
            refuse_crowded(data, f"{self.path}: {name}", times=2)
        return decode(data, Sample, f"{self.path}: {name}")
