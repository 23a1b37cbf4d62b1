"""What makes screens the same everywhere. Set before Textual is imported: it reads these once."""

from __future__ import annotations

import os

os.environ["TEXTUAL_ANIMATIONS"] = "none"
os.environ["TEXTUAL_SMOOTH_SCROLL"] = "0"
os.environ["COLORTERM"] = "truecolor"
os.environ.pop("NO_COLOR", None)
