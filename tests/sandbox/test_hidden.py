"""Evaluators are not seen in a sandbox, wherever on the host they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.isolation import bwrap
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.local import LocalSandbox


def test_the_checkout_is_hidden_and_packages_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usr = tmp_path / "usr"
    copy = usr / "local" / "tool" / "lib" / "python3.11" / "site-packages" / "workbench"
    source, tasks = usr / "local" / "src" / "mlgym-tui", usr / "share" / "tasks"
    for folder in (copy, source / "workbench", tasks):
        folder.mkdir(parents=True)
    monkeypatch.setattr(bwrap, "checkout", lambda: source)
    monkeypatch.setattr(bwrap, "_PACKAGE", source / "workbench")
    monkeypatch.setenv("MLGYM_TASKS", str(tasks))
    found = bwrap.hidden_in({usr: Path("/usr")})
    assert found == [Path("/usr") / path.relative_to(usr) for path in (source, copy, tasks)]


@pytest.mark.bwrap
async def test_what_a_session_hides_is_empty(workspace: Path) -> None:
    shown = LocalSandbox(SandboxSpec(session="test"), workspace)
    hiding = LocalSandbox(SandboxSpec(session="test", hidden=(Path("/usr/share"),)), workspace)
    for sandbox, empty in ((shown, False), (hiding, True)):
        await sandbox.start()
        try:
            listed = await sandbox.exec(["ls", "-A", "/usr/share"])
        finally:
            await sandbox.stop()
        assert (listed.stdout == b"") is empty
