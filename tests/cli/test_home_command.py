"""Where what is begun in the browser of runs is kept, in a terminal or in a web browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.library.runs import own
from workbench.cli import main
from workbench.cli.served import shown
from workbench.tui.app import WorkbenchApp


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("home", []),
        ("home", ["others"]),
        ("home", ["others", "more"]),
        ("home", ["others/20260101-101500-blotto-3fa9c1"]),
        ("replay", ["others"]),
    ],
)
def test_it_is_kept_in_the_users_own_sessions_whatever_is_looked_at(
    command: str, given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / name for name in given]
    own(tmp_path / "others")
    (tmp_path / "more").mkdir()
    opened: list[WorkbenchApp] = []
    for module in ("home", "runs"):
        monkeypatch.setattr(f"workbench.cli.{module}.is_terminal", lambda: True)
    monkeypatch.setattr(WorkbenchApp, "run", lambda app: opened.append(app))
    done = CliRunner().invoke(main, [command, *map(str, paths), "--sessions", str(tmp_path / "mine")])
    opened.append(shown(tmp_path / "mine", paths, drive=True))
    assert done.exit_code == 0
    assert [app.sessions for app in opened] == [tmp_path / "mine"] * 2
