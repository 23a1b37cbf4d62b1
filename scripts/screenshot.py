"""Makes docs/workbench.svg: the workbench on a real session of the scripted agent. Headless; needs no key, no network.

python scripts/screenshot.py [--output docs/workbench.svg] [--size 132x38] [--step 4] [--session DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import tempfile
from pathlib import Path

os.environ["TEXTUAL_ANIMATIONS"] = "none"

from workbench.formats.open import open_recording
from workbench.runner.start import start
from workbench.session.spec import SessionSpec
from workbench.tui.app import WorkbenchApp
from workbench.tui.source import RecordedSource


async def picture(folder: Path, size: tuple[int, int], step: int) -> str:
    """An SVG of the workbench on a recorded session, with the cursor on a step."""
    app = WorkbenchApp(RecordedSource(open_recording(folder)), theme="mlgym-dark")
    async with app.run_test(size=size) as pilot:
        app.workbench.go_to(step)
        app.workbench.show_step()
        app.workbench.say("")
        while not app.workbench.shell_then.idle:
            await pilot.pause(0.05)
        await pilot.pause(0.3)
        return app.export_screenshot(title="mlgym-tui replay")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent.parent / "docs" / "workbench.svg")
    parser.add_argument("--size", default="132x38", help="columns x rows")
    parser.add_argument("--step", type=int, default=3, help="where the cursor stands")
    parser.add_argument("--task", default="battleOfSexes")
    parser.add_argument("--session", type=Path, help="a saved session, in place of a new one")
    options = parser.parse_args()
    columns, _, rows = options.size.partition("x")
    with tempfile.TemporaryDirectory() as root:
        folder = options.session
        if folder is None:
            runner = start(SessionSpec(task=options.task, seed=7), Path(root))
            ended = await runner.run()
            print(f"{ended.exit_status} after {ended.steps} steps, best {ended.scores.best}")
            folder = runner.live.folder
        svg = await picture(folder, (int(columns), int(rows)), options.step)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(re.sub(r"terminal-\d+-", "terminal-", svg), encoding="utf-8")
    print(options.output)


if __name__ == "__main__":
    asyncio.run(main())
