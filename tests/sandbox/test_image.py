"""How the agents' image is made: the parts that need no engine, and the state of the real one where there is one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.images import import_image
from workbench.isolation import image, image_build
from workbench.isolation.engine import connect, engine
from workbench.isolation.spec import DEFAULT_IMAGE, SandboxError
from workbench.isolation.temporary import OwnedFolder, image_build_base
from workbench.resources import data_folder

DEB822 = """
Types: deb
# http://snapshot.debian.org/archive/debian/20250520T000000Z
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt here")
class TestFindMirror:
    @pytest.fixture
    def found(self, tmp_path: Path) -> Callable[..., str]:
        """The mirror where apt has these source files."""

        def found(**files: str) -> str:
            for name, text in files.items():
                (tmp_path / name.replace("_", ".")).write_text(text)
            places = (("sourcelist", "/dev/null"), ("sourceparts", tmp_path))
            return image_build.find_mirror(
                [part for name, place in places for part in ("-o", f"Dir::Etc::{name}={place}")]
            )

        return found

    def test_one_line_sources(self, found: Callable[..., str]) -> None:
        text = "# deb http://commented.example/debian bookworm main\ndeb http://mirror.example/debian bookworm main\n"
        assert found(ours_list=text) == "http://mirror.example/debian"

    def test_options_in_brackets_and_a_remark_at_the_end(self, found: Callable[..., str]) -> None:
        text = "deb [arch=amd64 signed-by=/k.gpg] https://mirror.example/d/ bookworm main contrib # ours\n"
        assert found(ours_list=text) == "https://mirror.example/d"

    def test_deb822_sources(self, found: Callable[..., str]) -> None:
        assert found(debian_sources=DEB822) == "http://mirror.example/debian"

    def test_field_continued_on_the_next_line(self, found: Callable[..., str]) -> None:
        text = "Types: deb deb-src\nURIs:\n http://folded.example/debian\nSuites: bookworm\nComponents: main\n"
        assert found(debian_sources=text) == "http://folded.example/debian"

    def test_disabled_and_source_only_entries_do_not_count(self, found: Callable[..., str]) -> None:
        text = (
            "Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n\n"
            "Types: deb-src\nURIs: http://src.example/debian\nSuites: bookworm\nComponents: main\n"
        )
        one_line = "deb-src http://src.example/debian bookworm main\n"
        assert found(debian_sources=text, a_list=one_line) == image_build.DEFAULT_MIRROR

    def test_other_systems_and_other_software_do_not_count(self, found: Callable[..., str]) -> None:
        node = "Types: deb\nURIs: https://deb.node.example/20\nSuites: nodistro\nComponents: main\n"
        ubuntu, disc = "deb http://archive.ubuntu.com/ubuntu noble main\n", "deb cdrom:[Debian]/ bookworm main\n"
        assert found(ubuntu_list=ubuntu, node_sources=node, cd_list=disc) == image_build.DEFAULT_MIRROR

    def test_without_apt_it_is_debians_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        assert image_build.find_mirror() == image_build.DEFAULT_MIRROR


class TestRecipe:
    def test_dockerfile_installs_the_package_list_and_ends_with_the_common_script(self) -> None:
        text = (data_folder("containers") / "Dockerfile").read_text()
        assert f"FROM {image_build.BASE_IMAGE}\n" in text
        assert "COPY packages.txt prepare.sh" in text
        assert "/opt/image/packages.txt" in text and "sh /opt/image/prepare.sh" in text

    def test_packages_are_names_only_and_hold_what_a_session_needs(self) -> None:
        names = image_build.packages()
        assert {"python3", "git", "vim", "less", "procps"} <= set(names)
        assert all(name.replace("-", "").isalnum() for name in names)
        assert names == sorted(names)

    def test_prepare_is_valid_shell(self) -> None:
        script = data_folder("containers") / "prepare.sh"
        subprocess.run(["sh", "-n", str(script)], check=True)

    def test_recipe_changes_with_the_package_list(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = image.recipe()
        shutil.copytree(data_folder("containers"), tmp_path / "containers")
        monkeypatch.setattr(image, "data_folder", lambda name: tmp_path / name)
        monkeypatch.setattr(image_build, "data_folder", lambda name: tmp_path / name)
        assert image.recipe() == before
        with (tmp_path / "containers" / "packages.txt").open("a") as file:
            file.write("zsh\n")
        assert image.recipe() != before
        assert "zsh" in image_build.packages()

    def test_tag_names_the_version(self) -> None:
        from workbench import __version__

        assert DEFAULT_IMAGE.endswith(f":{__version__}")


class TestBootstrapChecks:
    def test_needs_root(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(SandboxError) as caught:
            image_build._check_bootstrap_is_possible()
        assert "sudo mlgym-tui image build" in caught.value.hint

    def test_names_the_missing_tool(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(shutil, "which", lambda name: None if name == "debootstrap" else f"/usr/bin/{name}")
        with pytest.raises(SandboxError, match="debootstrap not found") as caught:
            image_build._check_bootstrap_is_possible()
        assert "apt-get install" in caught.value.hint

    def test_wants_room_on_the_disk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
        monkeypatch.setattr(image_build, "NEEDED_BYTES", 1 << 62)
        with pytest.raises(SandboxError, match="MB free") as caught:
            image_build._check_bootstrap_is_possible()
        assert "TMPDIR" in caught.value.hint

    def test_temporary_folder_goes_when_interrupted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        with pytest.raises(KeyboardInterrupt), OwnedFolder("image", image_build_base()) as folder:
            (folder / "root").mkdir()
            raise KeyboardInterrupt
        assert list(tmp_path.iterdir()) == []

    def test_devices_stay_out_of_the_image(self) -> None:
        device, file = tarfile.TarInfo("./dev/null"), tarfile.TarInfo("./etc/passwd")
        device.type = tarfile.CHRTYPE
        assert image_build._without_devices(device) is None
        assert image_build._without_devices(file) is file


def namespaces_allowed() -> bool:
    probe = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    return (
        shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not namespaces_allowed(), reason="needs root and mount namespaces (unshare --mount --pid)")
class TestBuildSteps:
    def test_lines_are_passed_on_as_they_come(self) -> None:
        lines: list[str] = []
        image_build._run(["sh", "-c", "echo one; echo; echo two >&2"], lines.append, "step")
        assert lines == ["one", "two"]

    def test_failure_says_what_was_printed_last(self) -> None:
        with pytest.raises(SandboxError, match=r"bootstrapping failed with status 3: .*no such mirror"):
            image_build._run(["sh", "-c", "echo no such mirror; exit 3"], lambda _: None, "bootstrapping")

    def test_mounts_of_a_step_stay_its_own(self, tmp_path: Path) -> None:
        lines: list[str] = []
        script = f"mount -t tmpfs none {tmp_path} && touch {tmp_path}/inside && ls {tmp_path}"
        image_build._run(["sh", "-c", script], lines.append, "step")
        assert lines == ["inside"]
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_the_step_and_its_children_go_with_us(self, tmp_path: Path, number: signal.Signals) -> None:
        marker = tmp_path / "pid"
        seconds = f"9{os.getpid()}{int(number)}"  # nobody else on this machine sleeps for as long
        code = (
            "from workbench.isolation import image_build\n"
            f"image_build._run(['sh', '-c', 'echo up; sleep {seconds} & sleep {seconds}'], print_up, 'step')\n"
        )
        prologue = f"def print_up(line):\n    open({str(marker)!r}, 'w').write(line)\n"
        process = subprocess.Popen([sys.executable, "-c", prologue + code], stderr=subprocess.DEVNULL)
        _wait_until(lambda: marker.exists() and marker.read_text() == "up")
        process.send_signal(number)
        assert process.wait(10) != 0
        _wait_until(lambda: not _running(f"sleep\0{seconds}".encode()))


def _running(words: bytes) -> bool:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if words in entry.read_bytes():
                return True
        except OSError:
            continue
    return False


def _wait_until(condition: object, patience: float = 45.0) -> None:
    assert callable(condition)
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.mark.docker
class TestRealImage:
    def test_state_of_an_image_that_is_there_and_of_one_that_is_not(self) -> None:
        assert image.image_state() == "current"
        assert image.image_state("mlgym-tui/agent:no-such-version") == "missing"

    def test_an_image_without_its_name_is_known_by_its_label(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with engine() as api:
            known = image.image_id(api, DEFAULT_IMAGE)
            inspect = image.inspect_image
            monkeypatch.setattr(image, "inspect_image", lambda api, name: inspect(api, name) if name == known else None)
            assert image.image_id(api, DEFAULT_IMAGE) == known
            with pytest.raises(SandboxError, match="not on this machine"):
                image.image_id(api, f"{DEFAULT_IMAGE}-other")

    def test_image_of_another_recipe_is_outdated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(image, "recipe", lambda: "another")
        assert image.image_state() == "outdated"

    def test_an_old_image_is_found_and_removed_and_the_current_one_is_not(self) -> None:
        name, derived = f"mlgym-tui/agent:test-{os.getpid()}", f"mlgym-tui-test/derived:{os.getpid()}"
        api: Any = connect()
        try:
            import_image(api, name, {}, [f"LABEL {image.RECIPE_LABEL}=old"])
            import_image(api, derived, {}, [f"LABEL {image.RECIPE_LABEL}=old", "LABEL of=somebody"])
            (found,) = [
                old for old in image.find_old_images(api) if old.endswith(name)
            ]  # Podman names Docker's registry
            assert not any(old.endswith((DEFAULT_IMAGE, derived)) for old in image.find_old_images(api))
            assert image.remove_unused(api, found) is True
            assert image.remove_unused(api, found) is False
            assert found not in image.find_old_images(api)
            assert image.inspect_image(api, derived) is not None
        finally:
            for made in (name, derived):
                image.remove_unused(api, made)
            api.close()
