"""The process that prepares one dataset, so that it can be stopped: `python -m workbench.tasks.preparing`.

Reads one line of JSON (an `Order`) from standard input, which stays open, and writes JSON lines to standard output:
`{"progress": [fraction, text]}`, and last `{"done": true}` or `{"error": text}` for what the user must mend.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.tasks.judge import load_function
from workbench.tasks.making import Making, Rows, SourceError


@dataclass(frozen=True)
class Order:
    """What is to be prepared."""

    maker: str
    """The Python file."""
    prepare: str
    """Its function."""
    target: str
    """A folder, to be filled."""
    seed: int
    options: dict[str, Any]
    source: str = ""
    """Folder with the user's files."""
    stand_in: str = ""
    """Function that makes what the source would be."""
    hub: dict[str, Any] | None = None
    """Of a Hugging Face source: repo, revision, config, splits."""


def prepare(order: Order, write: Any) -> None:
    """Fill the target. Raises SourceError, and whatever the dataset's own code raises."""
    target = Path(order.target)
    folders = {name: target / name for name in ("public", "secret", "mlgym")}
    for folder in folders.values():
        folder.mkdir()

    def progress(fraction: float, text: str) -> None:
        write({"progress": [fraction, text]})

    maker = Path(order.maker)
    with tempfile.TemporaryDirectory(dir=target, prefix=".source-") as made:
        making = Making(
            source=Path(order.source or made),
            seed=order.seed,
            options=order.options,
            progress=progress,
            public=folders["public"],
            secret=folders["secret"],
            mlgym=folders["mlgym"],
        )
        if order.stand_in:
            making.rows = load_function(maker, order.stand_in)(making) or {}
        elif order.hub is not None:
            making.rows = fetch(order.hub, progress)
        load_function(maker, order.prepare)(making)
    if not any(folders["mlgym"].iterdir()):
        folders["mlgym"].rmdir()


def fetch(hub: dict[str, Any], progress: Any) -> Rows:
    """The splits of a dataset of the Hub, from its own cache where they are there already."""
    if not hub_answers():
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"  # its cache, or an error at once
    try:
        import datasets  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise SourceError(
            "the Python package `datasets` is not installed: pip install 'mlgym-tui[data]', "
            "or use the small stand-in: --dataset tiny"
        ) from None
    rows: dict[str, Any] = {}
    for number, (ours, theirs) in enumerate(hub["splits"].items()):
        progress(number / len(hub["splits"]), f"fetching {hub['repo']}, {theirs}")
        try:
            rows[ours] = datasets.load_dataset(hub["repo"], hub["config"], split=theirs, revision=hub["revision"])
        except Exception as error:  # the library raises a dozen kinds for a missing network alone
            raise SourceError(
                f"{hub['repo']} cannot be fetched from Hugging Face: {str(error).splitlines()[0][:200]}; "
                "look at the network (HTTPS_PROXY, HF_ENDPOINT), or use the small stand-in: --dataset tiny"
            ) from error
    return rows


def hub_answers(time_limit: float = 5.0) -> bool:
    """Whether the Hub can be reached: its library would try for minutes. `time_limit` in seconds."""
    import urllib.error
    import urllib.request

    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=time_limit).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def main() -> None:
    """Entry point of the process."""
    order = Order(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_the_workbench, daemon=True).start()
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def write(message: dict[str, Any]) -> None:
        output.write(json.dumps(message) + "\n")
        output.flush()

    try:
        prepare(order, write)
    except SourceError as error:
        write({"error": str(error)})
    except OSError as error:
        write({"error": f"{error.filename or order.target}: {error.strerror or error}"})
    else:
        write({"done": True})


def _end_with_the_workbench() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
