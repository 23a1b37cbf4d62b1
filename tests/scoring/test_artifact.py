"""What is taken as a submission, and what is not."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from workbench.scoring.artifact import ArtifactError, open_artifact


def refused(path: Path, cap: int = 100) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        open_artifact(path, cap)
    assert path.name in str(caught.value) and str(path.parent) not in str(caught.value)
    return caught.value


def test_a_regular_file_up_to_the_cap(tmp_path: Path) -> None:
    file = tmp_path / "strategy.py"
    file.write_bytes(b"x" * 100)
    assert open_artifact(file, 100) == b"x" * 100
    error = refused(file, 99)
    assert error.verdict == "invalid" and "99 bytes" in str(error)


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "strategy.py").touch()
    assert open_artifact(tmp_path / "strategy.py", 10) == b""


def test_missing(tmp_path: Path) -> None:
    assert refused(tmp_path / "strategy.py").verdict == "missing"
    (tmp_path / "file").touch()
    assert refused(tmp_path / "file" / "strategy.py").verdict == "missing"


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for target in ("secret", "nowhere", "/etc/passwd"):
        link = tmp_path / f"to-{Path(target).name}"
        link.symlink_to(target)
        error = refused(link)
        assert error.verdict == "invalid" and "it is a link" in str(error)


def test_a_folder_on_the_way_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "out.csv").write_text("secret")
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "results").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="it should be a folder"):
        open_artifact(tmp_path / "workspace" / "results" / "out.csv", 100, below=1)


def test_folders_fifos_sockets_and_devices(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")  # must not wait for a writer
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    with listener:
        for name in ("folder", "fifo", "socket"):
            assert refused(tmp_path / name).verdict == "invalid"
    with pytest.raises(ArtifactError):
        open_artifact(Path("/dev/zero"), 100)


def test_unreadable() -> None:
    with tempfile.TemporaryDirectory() as name:  # not tmp_path, which is its owner's alone
        file = Path(name) / "strategy.py"
        file.touch(0o000)
        Path(name).chmod(0o755)
        root = os.geteuid() == 0
        if root:  # root may read everything
            os.seteuid(65534)
        try:
            error = refused(file)
        finally:
            if root:
                os.seteuid(0)
    assert error.verdict == "invalid" and "chmod" in str(error)
