"""What a recorded shell had printed."""

from __future__ import annotations

from workbench.session.cast import Cast


def printed(cast: Cast, at: float, limit: int = 256 * 1024) -> str:
    """The last `limit` characters, or a little more, printed up to `at` seconds."""
    return "".join(piece for piece in cast.pieces_until(at, limit) if isinstance(piece, str))
