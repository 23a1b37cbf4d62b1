"""Requests that a client has compressed: they are read, and go on, as they were before."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import zstandard

_FORMS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""Of zlib, by what HTTP calls them."""
_DEEPEST = 2
_LARGEST_WINDOW = 8 << 20
"""Bytes of memory, the most that HTTP allows for Zstandard."""


class TooLarge(ValueError):
    """More comes out than there may be."""


def encodings(value: str) -> list[str]:
    """What a header `content-encoding` names, in the order in which it was done."""
    return [name for part in value.lower().split(",") if (name := part.strip()) not in ("", "identity")]


def known(names: Sequence[str]) -> bool:
    """Whether all of these can be undone, one within the other."""
    return len(names) <= _DEEPEST and all(name in _FORMS or name == "zstd" for name in names)


def decompressed(body: bytes, names: Sequence[str], most: int) -> bytes:
    """A body as it was before. Raises TooLarge, and ValueError for what is damaged."""
    for name in reversed(names):
        try:
            if name == "zstd":
                unpack = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
                with unpack.stream_reader(body, read_across_frames=True) as stream:
                    found = stream.read(most + 1)
            else:
                inflate = zlib.decompressobj(_FORMS[name])
                found = inflate.decompress(body, most + 1)
                if len(found) <= most and (not inflate.eof or inflate.unused_data):
                    raise ValueError("it is cut off, or something follows it")
        except (zlib.error, zstandard.ZstdError) as error:
            raise ValueError(str(error)) from None
        if len(found) > most:
            raise TooLarge
        body = found
    return body
