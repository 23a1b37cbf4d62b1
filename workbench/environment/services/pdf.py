"""Extracts the text of a PDF, in a separate process with limits."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import msgspec

from workbench.environment.services.notes import clean
from workbench.isolation.processes import kill_group, start_process

SECONDS = 60.0
"""The most seconds that a document may take."""
_WORKER = Path(__file__).resolve().parent / "pdf_worker.py"
_HEAD = 1024
"""A PDF may have something else before its first line, up to here."""


class UnreadablePdf(Exception):
    """The text cannot be extracted. `str()` says why."""


class PdfText(msgspec.Struct, frozen=True):
    """The texts of the pages that were read, and how many pages there are."""

    pages: list[str] = []
    total: int = 0
    error: str = ""
    """Why there is none; what is handed on has no error."""


async def pdf_text(data: bytes, *, time_limit: float = SECONDS) -> PdfText:
    """The text of a PDF. Raises UnreadablePdf."""
    if b"%PDF-" not in data[:_HEAD]:
        page = "<html" in data[:_HEAD].decode("latin-1").lower() or b"<!doctype" in data[:_HEAD].lower()
        raise UnreadablePdf("it is a web page, not a PDF" if page else "it is not a PDF")
    found = importlib.util.find_spec("pypdf")
    if found is None or found.origin is None:
        raise UnreadablePdf("this machine has no pypdf, which reads PDFs (pip install pypdf)")
    folder = str(Path(found.origin).parent.parent)
    # -I and an empty environment: nothing of the user's is read, and no key is there to be found.
    process = await start_process(
        sys.executable, "-I", str(_WORKER), folder, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}, cwd="/"
    )
    try:
        async with asyncio.timeout(time_limit):
            output, _ = await process.communicate(data)
    except TimeoutError:
        raise UnreadablePdf(f"reading it took more than {time_limit:.0f} s") from None
    finally:
        kill_group(process)
        await asyncio.shield(process.wait())
    try:
        result = msgspec.json.decode(output, type=PdfText)
    except msgspec.DecodeError:
        raise UnreadablePdf("reading it took too much time or memory") from None
    if result.error:
        raise UnreadablePdf(result.error)
    pages = [clean(page) for page in result.pages]
    if not any(page.strip() for page in pages):
        raise UnreadablePdf("it holds no text: its pages may be pictures")
    return PdfText(pages, result.total)
