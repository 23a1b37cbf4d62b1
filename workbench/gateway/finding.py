"""Where a program of this machine lies, and what a sandbox must see of the machine for it to run there.

Of an agent command the first word counts. Its folders are mounted read-only at their own paths, as virtual
environments name themselves and their Python by whole paths.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from workbench.errors import WorkbenchError
from workbench.session.secrets import config_folder, state_folder

ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_PREFIXES = ("env", "exec", "command", "time", "nohup")
_SHELL_WORDS = ("source", ".", "export", "set", "if", "for", "while", "until", "case", "[", "[[", "!")
INTERPRETERS = re.compile(r"(python[\d.]*|pypy[\d.]*|node|bun|deno|bash|sh|zsh|ruby|perl|uv|npx)$")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
_KEYS = (
    ".ssh", ".gnupg", ".aws", ".azure", ".config", ".kube", ".docker", ".netrc", ".password-store", ".claude", ".codex",
    ".gemini", ".env", ".git-credentials", ".pypirc", ".npmrc", ".huggingface", ".mozilla", ".local/share/keyrings",
)  # fmt: skip
"""What in a home folder holds keys."""
_DEEPEST = 5
"""Interpreters of interpreters that are followed."""


class NotFound(WorkbenchError):
    """The program of an agent command cannot be run in a sandbox. `str()` says why, `hint` what to do."""


class Program(msgspec.Struct, frozen=True):
    """The program of an agent command."""

    word: str
    """As the command names it."""
    path: Path
    """Where it lies on this machine."""
    kind: str
    """What it is part of, in words: "virtual environment", "pipx", "uv tool", "npm package", "system" …"""
    folders: tuple[Path, ...] = ()
    """What must be mounted for it: folders, or single files."""
    beside: tuple[Path, ...] = ()
    """Folders with further programs of it, for the end of PATH."""
    scripts: tuple[Path, ...] = ()
    """Files of this machine that the command names for an interpreter, which must be seen, too."""

    @property
    def inside(self) -> Path:
        """Its path in the sandbox: the first link on the way to it that lies in one of its folders."""
        steps = list(_links(self.path))
        seen = (step for step in steps if _is_system(step) or any(map(step.is_relative_to, self.folders)))
        return next(seen, steps[-1])

    def described(self) -> list[str]:
        """For the person who starts it: what it is, and what of the machine it will see."""
        if not self.folders:
            return [f"{self.word} is {self.path}"]
        seen = ", ".join(map(str, self.folders))
        return [f"{self.word} is {self.path} ({self.kind})", f"the sandbox sees, read-only: {seen}"]


def first_word(command: str) -> str:
    """The word of an agent command that names its program: the first that sets no variable and is not for `cd`.

    Raises NotFound where there is none.
    """
    lexer = shlex.shlex(command, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        for word in lexer:
            if word == "cd":
                while (word := next(lexer, "&&")) != "&&" and not word.endswith(";"):
                    pass
                continue
            if ASSIGNMENT.match(word) or word in _PREFIXES:
                continue
            if word in _SHELL_WORDS or word.startswith(("-", "(", "{", "$", "`")):
                raise NotFound(
                    f"the agent command begins with {word!r}, which is no program",
                    "begin with the program itself, by its path where it is in no folder of PATH; "
                    "variables may come before it, and --agent-env sets more",
                )
            return word
    except ValueError as error:
        raise NotFound(f"the agent command cannot be read: {error}", "quote it as for a shell") from None
    raise NotFound("the agent command names no program", "--agent-command 'PROGRAM ARGUMENT…'")


def find_program(command: str, search: str | None = None) -> Program:
    """The program of an agent command, as this machine has it. `search`: PATH. Raises NotFound."""
    word = first_word(command)
    place = shutil.which(os.path.expanduser(word), path=search)
    if place is None:
        raise NotFound(
            f"there is no program {word!r} on this machine",
            "name it by its path, or install it: a virtual environment, pipx, uv tool and npm are all found",
        )
    path = _without_shim(Path(os.path.abspath(place)), word)
    if _is_shim(path):
        raise NotFound(
            f"{path} is a shim of pyenv, and none of the versions that pyenv has chosen has the program",
            f"choose one that has it (`pyenv whence {shlex.quote(path.name)}` lists them, `pyenv global` chooses), "
            "or name the program by its path",
        )
    kind, folders, beside = _environment(path)
    for folder in folders:
        if problem := mount_problem(folder):
            raise NotFound(
                f"{word} is part of {folder}, which a sandbox must not see: {problem}",
                "install it in an environment of its own, for example with `python3 -m venv`, pipx or uv tool",
            )
    scripts = tuple(_scripts(command)) if INTERPRETERS.match(path.name) else ()
    return Program(word, path, kind, tuple(_outermost(folders)), tuple(dict.fromkeys(beside)), scripts)


def _is_shim(path: Path) -> bool:
    """Whether it only finds a program of one of pyenv's versions, which a sandbox has not."""
    return path.parent.name == "shims" and (path.parent.parent / "versions").is_dir()


def _without_shim(path: Path, word: str) -> Path:
    """What a shim of pyenv stands for; itself where pyenv does not say."""
    if _is_shim(path):
        root = path.parent.parent
        tool = shutil.which("pyenv") or str(root / "bin" / "pyenv")
        asked, env = [tool, "which", os.path.basename(word)], {**os.environ, "PYENV_ROOT": str(root)}
        with suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(asked, env=env, capture_output=True, text=True, timeout=10, check=False)
            if done.returncode == 0 and (found := Path(done.stdout.strip())).is_file():
                return found
    return path


def _environment(path: Path, depth: int = 0) -> tuple[str, list[Path], list[Path]]:
    """What a program is part of: its kind, what must be mounted, where its other programs are."""
    steps = list(_links(path))
    real = steps[-1]
    for step in steps:
        root = step.parent.parent
        if step.parent.name in ("bin", "Scripts") and (root / "pyvenv.cfg").is_file():
            return _virtual_environment(root, depth)
    if _is_system(real):
        return "system", [], []
    for step in steps:
        if "node_modules" in step.parts:
            at = step.parts.index("node_modules")
            folder = Path(*step.parts[: at + 1])
            return "npm package", [folder, *_interpreter(real, depth)[0]], [folder / ".bin"]
    prefix = real.parent.parent
    if real.parent.name == "bin" and _is_prefix(prefix):
        kind = "conda" if (prefix / "conda-meta").is_dir() else "Python" if "python" in real.name else "installation"
        return kind, [prefix, *_interpreter(real, depth)[0]], [real.parent]
    folders, kind = _interpreter(real, depth)
    return kind or "single file", [real, *folders], []


def _links(path: Path) -> Iterator[Path]:
    """The path, and what it leads to link by link."""
    for _ in range(40):
        yield path
        if not path.is_symlink():
            break
        path = Path(os.path.normpath(path.parent / os.readlink(path)))
    real = Path(os.path.realpath(path))
    if real != path:
        yield real


def _is_system(path: Path) -> bool:
    """Whether a sandbox has it anyway."""
    return any(path.is_relative_to(folder) for folder in _SYSTEM)


def _is_prefix(folder: Path) -> bool:
    """Whether a folder is the whole of one installation, and neither somebody's home nor all of a machine's."""
    if folder in (Path.home(), Path.home() / ".local", Path("/usr"), Path("/usr/local"), Path("/")):
        return False
    return (
        (folder / "conda-meta").is_dir() or any(folder.glob("lib/python3*")) or (folder / "lib/node_modules").is_dir()
    )


def _virtual_environment(root: Path, depth: int) -> tuple[str, list[Path], list[Path]]:
    parts = root.parts
    kind = "virtual environment"
    if "pipx" in parts and "venvs" in parts:
        kind = "pipx"
    elif "uv" in parts and "tools" in parts:
        kind = "uv tool"
    folders = [root, *_editable(root)]
    settings: dict[str, str] = {}
    with suppress(OSError, UnicodeDecodeError):
        for line in (root / "pyvenv.cfg").read_text("utf-8")[:10_000].splitlines():
            name, _, value = line.partition("=")
            settings[name.strip().lower()] = value.strip()
    for base in {settings.get("home", ""), str(Path(os.path.realpath(root / "bin" / "python")).parent)}:
        if base and depth < _DEEPEST:
            folders += _base_python(Path(base), depth)
    return kind, folders, [root / "bin"]


def _base_python(home: Path, depth: int) -> list[Path]:
    """What the Python of a virtual environment is part of; `home` is the folder of its programs."""
    if (home.parent / "pyvenv.cfg").is_file():
        return _virtual_environment(home.parent, depth + 1)[1]
    prefix = Path(os.path.realpath(home)).parent
    found = [] if _is_system(prefix) or not _is_prefix(prefix) else [prefix]
    if prefix != home.parent and not _is_system(home) and _is_prefix(home.parent):
        found.append(home.parent)  # pyvenv.cfg names it by the link
    return found


def _editable(root: Path) -> list[Path]:
    """Projects that an environment has installed where they are developed."""
    found: list[Path] = []
    for packages in root.glob("lib/python3*/site-packages"):
        for record in packages.glob("*.dist-info/direct_url.json"):
            with suppress(OSError, ValueError, AttributeError):
                said = json.loads(record.read_text("utf-8")[:10_000])
                if said.get("dir_info", {}).get("editable") and str(said["url"]).startswith("file://"):
                    found.append(Path(unquote(urlsplit(said["url"]).path)))
        for pointer in packages.glob("*.pth"):
            with suppress(OSError, UnicodeDecodeError):
                lines = pointer.read_text("utf-8")[:100_000].splitlines()
                found += [Path(line) for line in lines if line.startswith("/")]
    return [path for path in found if path.is_dir() and not (path / "workbench" / "session").is_dir()]


def _interpreter(file: Path, depth: int) -> tuple[list[Path], str]:
    """What the interpreter of a script needs, by its first line; and of what kind it is."""
    if depth >= _DEEPEST:
        return [], ""
    try:
        with file.open("rb") as stream:
            line = stream.read(400).split(b"\n", 1)[0].decode("utf-8", "replace")
    except OSError:
        return [], ""
    words = line[2:].split() if line.startswith("#!") else []
    if not words:
        return [], ""
    name = words[0]
    if os.path.basename(name) == "env":
        rest = [word for word in words[1:] if not (word.startswith("-") or ASSIGNMENT.match(word))]
        name = (shutil.which(rest[0]) or "") if rest else ""
    if not name or not os.path.exists(name):
        return [], ""
    kind, folders, _ = _environment(_without_shim(Path(name), os.path.basename(name)), depth + 1)
    return folders, kind if kind != "system" else ""


def _scripts(command: str) -> Iterator[Path]:
    """Files of this machine that a command names by a path."""
    with suppress(ValueError):
        for word in shlex.split(command)[1:]:
            path = Path(word).expanduser().absolute()
            if os.sep in word and not _is_system(path):
                with suppress(OSError):
                    if path.is_file():
                        yield path


def _outermost(folders: Sequence[Path]) -> Iterator[Path]:
    """Each once, and none that lies in another."""
    unique = list(dict.fromkeys(folders))
    for folder in unique:
        if not any(folder != other and folder.is_relative_to(other) for other in unique):
            yield folder


# -- what may be mounted -----------------------------------------------------------------------------------------------


def check_mount(folder: Path) -> Path:
    """A folder that `--agent-mount` names, by its whole path. Raises NotFound for one that a sandbox must not see."""
    place = folder.expanduser().absolute()
    hint = "name the folder of the program alone; settings come by --agent-env NAME=VALUE"
    if not place.exists():
        raise NotFound(f"--agent-mount: there is no {place}", "name a folder that is there")
    problem = mount_problem(place)
    if problem:
        raise NotFound(f"--agent-mount: {problem}", hint)
    return place


def mount_problem(place: Path) -> str:
    """Why a sandbox must not see a folder of this machine; empty where it may."""
    real = Path(os.path.realpath(place))
    for home in _homes():
        if home.is_relative_to(real):
            return f"{place} is a home folder as a whole, or has one in it"
        if real.is_relative_to(home):
            first = home / real.relative_to(home).parts[0]
            for name in _KEYS:
                kept = home / name
                if (real.is_relative_to(kept) or kept.is_relative_to(real)) and kept.exists():
                    return f"{place} is where keys lie ({kept})"
            if first.name in ("Documents", "Desktop", "Downloads") and real == first:
                return f"{place} is a folder of personal files as a whole"
    for kept in (config_folder(), state_folder()):
        if real.is_relative_to(kept) or kept.is_relative_to(real):
            return f"{place} is where the workbench keeps its own ({kept})"
    if len(real.parts) <= 2 and real.name in ("", "etc", "home", "root", "var", "run", "proc", "sys", "dev", "boot"):
        return f"{place} is a part of the system as a whole"
    if any(real.is_relative_to(folder) for folder in ("/proc", "/sys", "/dev", "/run")):
        return f"{place} is a part of the system"
    return ""


def _homes() -> list[Path]:
    """The home folders of this user: as HOME has it, and as the system has it."""
    import pwd

    found = {Path(os.path.realpath(Path.home()))}
    with suppress(KeyError):
        found.add(Path(os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir)))
    return sorted(home for home in found if home != Path("/"))
