"""import, export, share: sessions from other programs, and for other programs and people."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Command, Failure, complain
from workbench.cli.options import json_option, read_session, session_argument, sessions_option
from workbench.cli.output import print_json, progress_line
from workbench.text import many, visible

if TYPE_CHECKING:
    from workbench.session.events import Event
    from workbench.session.recording import Recording

_STDOUT = Path("-")
_SUFFIXES = {"atif": ".atif.json", "inspect": ".eval", "html": ".html", "cast": ".cast", "md": ".md"}


@click.command("import", cls=Command)
@click.argument("path", nargs=-1, required=True, metavar="PATH...")
@sessions_option
@json_option
def import_(path: tuple[str, ...], sessions_folder: Path, as_json: bool) -> None:
    """Store what other programs recorded as sessions.

    PATH is a file of MLGym, SWE-agent, mini-swe-agent, Inspect, Harbor (ATIF) or asciinema, one run of several in a
    file (`FILE#SAMPLE/EPOCH`), an archive of `share`, or a folder of any of them. What a file does not hold stays
    unknown. Nothing that it names is used without your word.

    Examples:
      mlgym-tui import logs/2026-11-28_task.eval
      mlgym-tui import 'task.eval#sample-7/1' run.traj.json --json
    """
    from workbench.formats.open import RunRef, open_recording, ref_of, runs_in
    from workbench.formats.storing import store
    from workbench.library.index import runs
    from workbench.session.recording import RecordingError
    from workbench.signals import stoppable

    stored: list[dict[str, Any]] = []
    failed = 0
    with progress_line() as progress, stoppable(lambda: f"{many(len(stored), 'session')} stored in {sessions_folder}"):
        for each in path:
            ref = ref_of(Path(each).expanduser())
            try:
                refs = runs_in(each)
                if ref.path.is_dir() and not (ref.path / "events.jsonl").exists():
                    refs = [ref_of(run.path) for run in runs([ref.path]) if run.status != "damaged"] or [
                        RunRef(ref.path)
                    ]
            except (RecordingError, OSError) as error:
                failed += 1
                said = f"{each}: {error.strerror}" if isinstance(error, OSError) else str(error)
                complain(said, getattr(error, "hint", ""))
                continue
            for place, one in enumerate(refs):
                progress(place / len(refs), f"import {one}")
                try:
                    recording = open_recording(one.path, one.sample)
                    folder = store(recording, sessions_folder)
                except RecordingError as error:
                    failed += 1
                    complain(str(error), error.hint)
                    continue
                stored.append(_imported(recording, folder))
    if as_json:
        print_json(stored)
    for row in stored if not as_json else ():
        click.echo(visible(f"{row['session']}  {many(row['steps'], 'step')} of {row['source']} ({row['format']})"))
    if failed:
        raise Failure(f"{many(failed, 'file')} could not be imported", "the others are stored" if stored else "")


def _imported(recording: Recording, folder: Path) -> dict[str, Any]:
    from workbench.session.state import fold

    return {
        "session": folder.name,
        "path": folder,
        "source": recording.reference,
        "format": recording.source,
        "steps": fold(recording.events).last_step,
        "problems": recording.problems,
    }


@click.command(cls=Command)
@click.option("--format", "-f", "form", type=click.Choice(["mlgym", *_SUFFIXES]), required=True, help="What to write.")
@click.option("--out", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Else NAME here; - is stdout.")
@json_option
@session_argument
def export(session: Path, form: str, out: Path | None, as_json: bool) -> None:
    """Write SESSION as a file of another program, or as a page.

    mlgym: a run folder, below FILE or here; with a suffix, FILE is its .traj alone, which names neither task nor
    model. atif: Harbor. inspect: .eval, or .json by the name of FILE. html: one page that needs nothing else. cast:
    asciicast v2. md: Markdown.

    Examples:
      mlgym-tui export last --format html --out run.html
      mlgym-tui export 3fa9c1 -f inspect -o run.eval
      mlgym-tui export last -f mlgym -o runs/        a run folder below runs/
    """
    from workbench.formats.mlgym_export import run_folder
    from workbench.formats.table import FORMATS as TABLE
    from workbench.session.events import decode, encode
    from workbench.session.secrets import Redactor

    recording, _ = read_session(session)
    recording.events += _noted(str(session.absolute()))
    redactor = Redactor()
    recording.events = [decode(redactor.data(encode(event))) for event in recording.events]
    named = recording.name.replace("/", "_").removesuffix(recording.path.suffix) + _SUFFIXES.get(form, "")
    out = out or Path(named if form in _SUFFIXES else ".")
    if form == "mlgym" and out != _STDOUT and (out.is_dir() or not out.suffix):
        files = run_folder(recording, out)
    else:
        write = next(each.write for each in TABLE if each.name == form)
        assert write is not None
        files = {out: write(recording, out)}
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with _written(path, recording) as unfinished:
            unfinished.write_bytes(data if data.startswith(b"PK") else redactor.data(data))
    _tell(as_json, {"session": recording.reference, "format": form, "files": list(files)})


@click.command(cls=Command)
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Where to (else NAME.zip here; - is stdout)."
)
@json_option
@session_argument
def share(session: Path, out: Path | None, as_json: bool) -> None:
    """Pack SESSION into one archive for somebody else.

    It holds no keys, no secrets of your environment and no paths of this machine; elsewhere `replay FILE` opens it.

    Examples:
      mlgym-tui share last
      mlgym-tui share 3fa9c1 --out run.zip
    """
    from workbench.formats.storing import pack

    recording, _ = read_session(session)
    out = out or Path(recording.name.replace("/", "_") + ".zip")
    with _written(out, recording) as unfinished:
        lost = pack(recording, unfinished)
    for each in lost:
        complain(f"left out: {each}")
    _tell(as_json, {"session": recording.reference, "files": [out], "left_out": lost})


def _noted(path: str) -> Iterator[Event]:
    """What people noted on a run, as the last events of its log."""
    from workbench.library.notes import in_words, read
    from workbench.session.events import NoteAdded

    for note in read(path):
        yield NoteAdded(author=note.author, text=in_words(note), step=note.step, time=note.time)


@contextlib.contextmanager
def _written(path: Path, recording: Recording) -> Iterator[Path]:
    """Where to write what is to stand at `path`, as a whole or not at all. What is no file (`-`, a device, a pipe) is
    written into, never replaced.
    """
    if path.exists() and path.samefile(recording.path):
        raise Failure(f"{path} is what is to be exported", "name another file with --out", 2)
    if _is_stream(path):
        with tempfile.TemporaryDirectory() as folder:
            yield (whole := Path(folder) / "whole")
            out = contextlib.nullcontext(sys.stdout.buffer) if path == _STDOUT else path.open("wb")
            with whole.open("rb") as data, out as stream:
                shutil.copyfileobj(data, stream)
        return
    path = path.resolve()  # of a link, what it leads to
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        if error.filename == str(unfinished):
            error.filename = str(path)
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    return path == _STDOUT or (path.exists() and not path.is_file() and not path.is_dir())


def _tell(as_json: bool, made: dict[str, Any]) -> None:
    if _STDOUT in made["files"]:  # it holds the file itself
        return
    if as_json:
        print_json(made)
    else:
        click.echo("\n".join(visible(str(path)) for path in made["files"]))
