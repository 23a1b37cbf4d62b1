"""What a terminal shows for bytes that were printed, as observations have it."""

from __future__ import annotations

from workbench.sandbox.render import Renderer


def render(data: bytes) -> str:
    """All of the text."""
    renderer = Renderer()
    renderer.feed(data.decode("utf-8", "replace"))
    return renderer.text().capped(1 << 40)[0]
