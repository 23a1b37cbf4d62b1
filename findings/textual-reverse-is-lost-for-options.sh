#!/bin/sh
# Textual 8.2.8: `text-style: reverse` of a component class is lost in `Widget.get_visual_style`, which hands on bold, dim,
# italic, underline and strike. So the highlighted option of an OptionList, which Textual's own style sheet reverses where
# NO_COLOR is set, looks like all others there, in the command palette too. `bold underline` comes through.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check textual==8.2.8
NO_COLOR=1 "$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from importlib.metadata import version

from textual.app import App
from textual.widgets import OptionList

OPTION = "option-list--option-highlighted"


class Options(App):
    CSS = f"OptionList > .{OPTION} {{ text-style: reverse underline; }}"

    def compose(self):
        yield OptionList("one", "two")


async def main() -> None:
    app = Options()
    async with app.run_test():
        options = app.query_one(OptionList)
        asked = options.get_component_styles(OPTION).text_style
        drawn = options.get_visual_style(OPTION)
        print("Textual", version("textual"), "style sheet:", asked, "drawn: reverse", drawn.reverse, drawn.underline)
        assert asked.reverse and drawn.underline
        assert not drawn.reverse, "changed: it is drawn in reverse"


asyncio.run(main())
PYTHON
