"""Agent programs are found with all that they need, and folders that a sandbox must not see are refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from workbench.gateway.finding import NotFound, Program, check_mount, find_program, first_word


class Machine:
    """A home folder with programs, as the usual tools lay them out."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.home.mkdir()
        self.path: list[Path] = []

    def file(self, path: str, text: str = "#!/bin/sh\n") -> Path:
        place = self.home / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o755)
        return place

    def link(self, path: str, target: Path | str) -> Path:
        place = self.home / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)
        return place

    def python(self, prefix: str = "pythons/3.12") -> Path:
        """An interpreter that is not the system's."""
        (self.home / prefix / "lib" / "python3.12").mkdir(parents=True)
        return self.file(f"{prefix}/bin/python3.12")

    def environment(self, root: str, base: Path) -> Path:
        """A virtual environment of that interpreter, with the program `tool`."""
        folder = self.home / root
        self.link(f"{root}/bin/python", base)
        self.file(f"{root}/pyvenv.cfg", f"home = {base.parent}\nversion = 3.12.1\n")
        self.file(f"{root}/bin/tool", f"#!{folder}/bin/python\n")
        (folder / "lib/python3.12/site-packages").mkdir(parents=True)
        return folder

    def find(self, command: str) -> Program:
        return find_program(command, os.pathsep.join(map(str, [*self.path, "/usr/bin", "/bin"])))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("HOME", str(made.home))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return made


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("mini -t 'do it'", "mini"),
        ("A=1 B='x y' C=\"$(cat f)\" mini", "mini"),
        ("env A=1 mini", "mini"),
        ("exec '/opt/my tools/mini' --yolo", "/opt/my tools/mini"),
        ("mini | tee log", "mini"),
        ("cd /a && mini", "mini"),
        ("cd '/a b'; A=1 mini", "mini"),
        ('MSWEA_CONFIGURED=true mini -t "$(cat $MLGYM_TASK_FILE)"', "mini"),
    ],
)
def test_the_first_word_that_is_no_variable_names_the_program(command: str, word: str) -> None:
    assert first_word(command) == word


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "names no program"),
        ("A=1", "names no program"),
        ("cd x", "names no program"),
        ("source venv/bin/activate && mini", "'source'"),
        ("(mini)", "'(mini)'"),
        ("$AGENT run", "'$AGENT'"),
        ("mini 'open", ""),
        ("'mini", "cannot be read"),
    ],
)
def test_a_command_that_names_no_program_is_refused(command: str, said: str) -> None:
    if not said:  # bash says what is wrong with the rest
        assert first_word(command) == "mini"
        return
    with pytest.raises(NotFound) as refusal:
        first_word(command)
    assert said in str(refusal.value)
    assert refusal.value.hint


@pytest.fixture
def pyenv(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A pyenv in another place than HOME/.pyenv, which it finds by PYENV_ROOT alone, with a shim for `tool`."""
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    which = 'found=$PYENV_ROOT/versions/3.12/bin/$2; test "$1" = which -a -x "$found" && echo "$found"'
    tool = machine.file("elsewhere/bin/pyenv", f"#!/bin/sh\n{which}\n")
    machine.file("elsewhere/shims/tool", "#!/bin/sh\nexec pyenv exec tool\n")
    machine.python("elsewhere/versions/3.12")
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    return machine


@pytest.mark.parametrize("by_path", [False, True])
def test_a_shim_of_pyenv_is_the_program_that_it_stands_for(pyenv: Machine, by_path: bool) -> None:
    tool = pyenv.file("elsewhere/versions/3.12/bin/tool")
    pyenv.path.append(pyenv.home / "elsewhere/shims")
    found = pyenv.find(f"{pyenv.home}/elsewhere/shims/tool" if by_path else "tool")
    assert found.path == tool
    assert found.folders == (pyenv.home / "elsewhere/versions/3.12",)


def test_a_shim_that_stands_for_nothing_is_refused(pyenv: Machine) -> None:
    with pytest.raises(NotFound, match="is a shim of pyenv") as refusal:
        pyenv.find(f"{pyenv.home}/elsewhere/shims/tool")
    assert "pyenv whence tool" in refusal.value.hint


def test_a_virtual_environment_is_seen_with_its_python(machine: Machine) -> None:
    base = machine.python()
    venv = machine.environment("work/venv", base)
    found = machine.find(f"{venv}/bin/tool run")
    assert found.kind == "virtual environment"
    assert found.folders == (venv, base.parent.parent)
    assert found.inside == venv / "bin/tool"
    assert found.beside == (venv / "bin",)


@pytest.mark.parametrize(
    ("root", "kind"),
    [(".local/share/pipx/venvs/tool", "pipx"), (".local/share/uv/tools/tool", "uv tool"), ("x", "virtual environment")],
)
def test_the_link_that_a_tool_installs_leads_to_its_environment(machine: Machine, root: str, kind: str) -> None:
    base = machine.python()
    venv = machine.environment(root, base)
    machine.link(".local/bin/tool", venv / "bin/tool")
    machine.path.append(machine.home / ".local/bin")
    found = machine.find("tool")
    assert (found.kind, found.folders, found.inside) == (kind, (venv, base.parent.parent), venv / "bin/tool")


def test_an_environment_made_from_an_environment_has_the_python_of_both(machine: Machine) -> None:
    base = machine.python()
    first = machine.environment("first", base)
    second = machine.environment("second", first / "bin/python")
    assert set(machine.find(f"{second}/bin/tool").folders) == {second, first, base.parent.parent}


def test_the_system_python_needs_nothing_more(machine: Machine) -> None:
    venv = machine.environment("venv", Path("/usr/bin/python3"))
    assert machine.find(f"{venv}/bin/tool").folders == (venv,)
    assert machine.find("sh -c true").folders == ()


def test_projects_that_are_installed_where_they_are_developed_are_seen(machine: Machine) -> None:
    venv = machine.environment("venv", Path("/usr/bin/python3"))
    mine = machine.home / "my agent"
    mine.mkdir()
    record = {"url": f"file://{str(mine).replace(' ', '%20')}", "dir_info": {"editable": True}}
    packages = "venv/lib/python3.12/site-packages"
    machine.file(f"{packages}/mine-1.dist-info/direct_url.json", json.dumps(record))
    machine.file(f"{packages}/other-1.dist-info/direct_url.json", '{"url": "file:///usr", "dir_info": {}}')
    machine.file(f"{packages}/broken-1.dist-info/direct_url.json", '["no')
    assert machine.find(f"{venv}/bin/tool").folders == (venv, mine)


def test_a_checkout_of_the_workbench_is_not_seen(machine: Machine) -> None:
    venv = machine.environment("venv", Path("/usr/bin/python3"))
    checkout = machine.home / "mlgym-tui"
    (checkout / "workbench/session").mkdir(parents=True)
    record = {"url": f"file://{checkout}", "dir_info": {"editable": True}}
    machine.file("venv/lib/python3.12/site-packages/m-1.dist-info/direct_url.json", json.dumps(record))
    assert machine.find(f"{venv}/bin/tool").folders == (venv,)


def test_a_package_of_npm_is_seen_with_its_node(machine: Machine) -> None:
    machine.file("nvm/v22/bin/node", "")
    (machine.home / "nvm/v22/lib/node_modules").mkdir(parents=True)
    script = f"#!{machine.home}/nvm/v22/bin/node\n"
    program = machine.file("nvm/v22/lib/node_modules/@who/agent/cli.js", script)
    machine.link("nvm/v22/bin/agent", "../lib/node_modules/@who/agent/cli.js")
    machine.path.append(machine.home / "nvm/v22/bin")
    found = machine.find("agent -p x")
    assert (found.kind, found.folders) == ("npm package", (machine.home / "nvm/v22",))
    assert found.inside in (program, machine.home / "nvm/v22/bin/agent")
    local = machine.file("project/node_modules/tool/cli.js", "#!/bin/sh\n")
    machine.link("project/node_modules/.bin/tool", "../tool/cli.js")
    there = machine.find(f"{machine.home}/project/node_modules/.bin/tool")
    assert there.folders == (machine.home / "project/node_modules",)
    assert local.is_relative_to(there.folders[0])


def test_a_script_alone_is_seen_alone(machine: Machine) -> None:
    script = machine.file("bin/my-agent", "#!/usr/bin/env sh\n")
    machine.file("bin/secret")
    found = machine.find(str(script))
    assert (found.kind, found.folders, found.inside) == ("single file", (script,), script)


def test_scripts_that_an_interpreter_is_to_run_are_named(machine: Machine) -> None:
    script = machine.file("work/agent.py", "")
    assert machine.find(f"sh {script} --task x/y").scripts == (script,)


def test_links_that_go_round_in_circles_end(machine: Machine) -> None:
    machine.link("a", machine.home / "b")
    machine.link("b", machine.home / "a")
    with pytest.raises(NotFound, match="no program"):
        machine.find(f"{machine.home}/a")


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("", "home folder as a whole"),
        ("..", "home folder as a whole"),
        (".ssh", "keys lie"),
        (".ssh/deep/er", "keys lie"),
        (".config", "keys lie"),
        (".config/agent", "keys lie"),
        (".aws", "keys lie"),
        ("link-to-ssh", "keys lie"),
        ("/", "a home folder"),
        ("/etc", "part of the system"),
        ("/proc/self", "part of the system"),
        ("missing", "there is no"),
    ],
)
def test_what_a_sandbox_must_not_see_is_refused(machine: Machine, folder: str, said: str) -> None:
    for name in (".ssh/deep/er", ".config/agent", ".aws"):
        (machine.home / name).mkdir(parents=True)
    (machine.home / "link-to-ssh").symlink_to(machine.home / ".ssh")
    with pytest.raises(NotFound) as refusal:
        check_mount(machine.home / folder)
    assert said in str(refusal.value)
    assert refusal.value.hint


def test_a_folder_of_its_own_is_not_refused(machine: Machine) -> None:
    place = machine.home / "agents/mine"
    place.mkdir(parents=True)
    assert check_mount(Path("~/agents/mine")) == place


def test_a_program_in_a_folder_that_must_not_be_seen_is_refused(machine: Machine) -> None:
    machine.file(".config/tools/pyvenv.cfg", "home = /usr/bin\n")
    tool = machine.file(".config/tools/bin/tool", "#!/bin/sh\n")
    with pytest.raises(NotFound, match="must not see"):
        machine.find(str(tool))
