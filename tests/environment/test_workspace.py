"""The folder that holds a workspace, where a hostile session was restored into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.session.hostile import everything
from workbench.environment.assembly import offer_data


@pytest.mark.parametrize("mounted", [True, False])
def test_places_for_data_are_made_inside_whatever_was_restored(tmp_path: Path, mounted: bool) -> None:
    workspace, outside, data = tmp_path / "w", tmp_path / "outside", tmp_path / "data"
    for folder in (workspace, outside / "sub", data):
        folder.mkdir(parents=True)
    (workspace / "data").symlink_to(outside)
    (workspace / "other").write_text("a file")
    before = everything(outside)
    offer_data(workspace, {data: "data/sub", tmp_path / "x": "data/new", outside: "other"}, mounted=mounted)
    assert everything(outside) == before
    assert (workspace / "data").is_dir() and not (workspace / "data").is_symlink()
    for place in ("data/sub", "data/new", "other"):
        assert (workspace / place).is_symlink() != mounted
        assert not mounted or (workspace / place).is_dir()
