"""The process that prepares one dataset, so that it can be stopped: `python -m workbench.tasks.preparing`.

Reads one line of JSON (an `Order`) from standard input, which stays open, and writes JSON lines to standard output:
`{"progress": [fraction, text]}`, and last `{"done": origin}` (where a Hub source came from; else empty) or
`{"error": text}` for what the user must mend.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.tasks.author_code import load_function, report_to_the_workbench
from workbench.tasks.dataset_schema import GeneratedSource, read_dataset
from workbench.tasks.hub import fetch_files, fetch_rows
from workbench.tasks.making import Making, SourceError


@dataclass(frozen=True)
class Order:
    """What is to be prepared."""

    dataset: str
    """Its YAML file."""
    variant: str
    target: str
    """A folder, to be filled."""
    source: str = ""
    """Folder with files of this machine, where it is made from those."""
    files: tuple[str, ...] | None = None
    """Those files."""


def prepare(order: Order, write: Any) -> dict[str, Any]:
    """Fill the target; returns where the data came from. Raises SourceError, and what the dataset's code raises."""
    file, target = Path(order.dataset), Path(order.target)
    spec = read_dataset(file)
    maker, source = file.parent / spec.prepare.file, spec.source
    stand_in = spec.tiny if order.variant else None
    seeded = stand_in or (source if source.kind == "generator" else GeneratedSource())
    public, secret, mlgym = parts = [target / name for name in ("public", "secret", "mlgym")]
    for part in parts:
        part.mkdir()

    def progress(fraction: float, text: str) -> None:
        write({"progress": [fraction, text]})

    origin: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=target, prefix=".source-") as made:
        folder = Path(order.source or made)
        making = Making(folder, public, secret, mlgym, seeded.seed, seeded.options, progress)
        if stand_in is not None and stand_in.function is not None:
            making.rows = load_function(maker, stand_in.function)(making) or {}
            made_files = sorted(path for path in folder.rglob("*") if path.is_file())
            making.files = {path.relative_to(folder).as_posix(): path for path in made_files}
        elif order.files is not None:
            making.files = {name: folder / name for name in order.files}
            if source.kind == "huggingface" and source.installed is not None:
                making.rows = load_function(maker, source.installed.function)(making)
        elif stand_in is None and source.kind == "hub-files":
            making.files, origin = fetch_files(source, progress)
        elif stand_in is None and source.kind == "huggingface":
            making.rows, origin = fetch_rows(source, progress)
        load_function(maker, spec.prepare.function)(making)
    if not any(mlgym.iterdir()):
        mlgym.rmdir()
    return origin


def main() -> None:
    """Entry point of the process."""
    order = Order(**json.loads(sys.stdin.readline()))
    write = report_to_the_workbench()
    try:
        origin = prepare(order, write)
    except SourceError as error:
        write({"error": str(error)})
    except SystemExit as error:
        write({"error": f"{order.dataset}: its program ended its process by SystemExit({error.code!r})"})
    except OSError as error:
        write({"error": f"{error.filename or order.target}: {error.strerror or error}"})
    else:
        write({"done": origin})


if __name__ == "__main__":
    main()
