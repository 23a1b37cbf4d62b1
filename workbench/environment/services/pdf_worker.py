"""The text of a PDF, read from standard input, as JSON on standard output. A process of its own, with limits.

A PDF from the internet may be made to take for ever, or all memory: this process may not. Run by its path, with the
folder of pypdf as its argument.
"""

from __future__ import annotations

import io
import json
import logging
import resource
import sys

MOST_PAGES = 300
MOST_CHARACTERS = 2_000_000
MEMORY_BYTES = 2 << 30
CPU_SECONDS = 45


def set_limits() -> None:
    """What this process may take of the machine."""
    for name, most in (("RLIMIT_AS", MEMORY_BYTES), ("RLIMIT_CPU", CPU_SECONDS), ("RLIMIT_FSIZE", 0)):
        limit = getattr(resource, name)
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(limit, (most, most))
        except (ValueError, OSError):  # macOS knows no limit of address space
            continue


def read_pages(data: bytes) -> dict[str, object]:
    """`pages` (texts), `total` (how many the document has), or `error`."""
    from pypdf import PdfReader

    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            return {"error": "it is protected by a password"}
        total = len(reader.pages)
    except MemoryError:
        return {"error": "it needs too much memory"}
    except Exception as error:  # a damaged file raises anything
        return {"error": f"it is damaged or protected ({type(error).__name__})"}
    pages: list[str] = []
    size = 0
    for number in range(min(total, MOST_PAGES)):
        try:
            text = reader.pages[number].extract_text()
        except MemoryError:
            break
        except Exception as error:
            text = f"(this page cannot be read: {type(error).__name__})"
        text = text.encode("utf-8", "replace").decode("utf-8")[: MOST_CHARACTERS - size]
        size += len(text)
        pages.append(text)
        if size >= MOST_CHARACTERS:
            break
    return {"pages": pages, "total": total}


def main() -> None:
    """Read, and say what was found."""
    sys.path.append(sys.argv[1])
    logging.disable(logging.CRITICAL)
    import pypdf  # noqa: F401  # before the limits: importing takes address space, too

    set_limits()
    result = read_pages(sys.stdin.buffer.read())
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
