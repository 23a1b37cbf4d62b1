"""The process that prepares one dataset, so that it can be stopped: `python -m workbench.tasks.preparing`.

Reads one line of JSON (an `Order`) from standard input, which stays open, and writes JSON lines to standard output:
`{"progress": [fraction, text]}`, and last `{"done": origin}` (where a Hub source came from; else empty) or
`{"error": text}` for what the user must mend.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.tasks.author_code import load_function, report_to_the_workbench
from workbench.tasks.hub import fetch_files, fetch_rows
from workbench.tasks.making import Making, SourceError


@dataclass(frozen=True)
class Order:
    """What is to be prepared."""

    maker: str
    """The Python file."""
    prepare: str
    """Its function."""
    target: str
    """A folder, to be filled."""
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    """Folder with the user's files."""
    files: tuple[str, ...] = ()
    """Of those, the ones that stand for a Hub source's."""
    reader: str = ""
    """Function that reads rows from them."""
    stand_in: str = ""
    """Function that makes what the source would be."""
    hub: dict[str, Any] | None = None
    """Of a Hugging Face source: repo, revision, config, splits; of a Hub source: repo, repo_type, revision, files."""


def prepare(order: Order, write: Any) -> dict[str, Any]:
    """Fill the target; returns where the data came from. Raises SourceError, and what the dataset's code raises."""
    origin: dict[str, Any] = {}
    target, maker = Path(order.target), Path(order.maker)
    public, secret, mlgym = parts = [target / name for name in ("public", "secret", "mlgym")]
    for part in parts:
        part.mkdir()

    def progress(fraction: float, text: str) -> None:
        write({"progress": [fraction, text]})

    with tempfile.TemporaryDirectory(dir=target, prefix=".source-") as made:
        making = Making(Path(order.source or made), public, secret, mlgym, order.seed, order.options, progress)
        if order.stand_in:
            making.rows = load_function(maker, order.stand_in)(making) or {}
            made_files = sorted(path for path in making.source.rglob("*") if path.is_file())
            making.files = {path.relative_to(making.source).as_posix(): path for path in made_files}
        elif order.files:
            making.files = {name: making.source / name for name in order.files}
            making.rows = load_function(maker, order.reader)(making) if order.reader else {}
        elif order.hub is not None and "files" in order.hub:
            making.files, origin = fetch_files(order.hub, progress)
        elif order.hub is not None:
            making.rows, origin = fetch_rows(order.hub, progress)
        load_function(maker, order.prepare)(making)
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
        write({"error": f"{order.maker}: it ended its process by SystemExit({error.code!r})"})
    except OSError as error:
        write({"error": f"{error.filename or order.target}: {error.strerror or error}"})
    else:
        write({"done": origin})


if __name__ == "__main__":
    main()
