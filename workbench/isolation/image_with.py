"""Images with an agent program: Python packages in a virtual environment of their own, on top of another image.

The packages are wheels that were installed on this machine for the image's Python, so that nothing is run in a
container but its Python, to ask where it is.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from workbench.isolation.container import run_in_image
from workbench.isolation.engine import engine, engine_errors
from workbench.isolation.image import image_id
from workbench.isolation.spec import SandboxError

ENVIRONMENT = "/opt/agent"
"""The environment, inside."""


def add_environment(base: str, tag: str, packages: Path, version: str, progress: Callable[[str], None]) -> list[str]:
    """Name `tag` an image that is `base` and an environment with what lies in the folder `packages`, wheels for
    Python `version`. Returns the programs that it brings. Raises SandboxError or OSError.
    """
    name, _, label = tag.rpartition(":") if ":" in tag.rpartition("/")[2] else (tag, "", "latest")
    ask = ["python3", "-I", "-S", "-c", "import sys; print(sys.executable)"]
    with engine() as api, run_in_image(api, image_id(api, base), ask) as (container, said):
        if not said.startswith("/"):
            raise SandboxError(f"the image {base} has no python3", "an image needs bash and python3")
        with tempfile.TemporaryFile() as archive:
            progress(f"packing {packages}")
            programs = _pack(archive, packages, version, said.strip())
            archive.seek(0)
            progress(f"adding them to {base}")
            send: Any = api.put_archive  # the stubs know no types for it
            with engine_errors():
                if not send(container, "/", archive):
                    raise SandboxError("the engine did not take the packages", "look at the free space of its disk")
                api.commit(container, repository=name, tag=label, conf={"Cmd": ["/bin/bash"], "Entrypoint": None})
    progress(f"image {tag} is ready")
    return programs


def program_in(image: str, word: str) -> str:
    """Where an image has a program; empty where it has none of that name. Raises SandboxError."""
    path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; command -v -- "$1"'
    with engine() as api, run_in_image(api, image_id(api, image), ["sh", "-c", path, "sh", word]) as (_, said):
        return said.strip()


def _pack(archive: IO[bytes], packages: Path, version: str, python: str) -> list[str]:
    """Write the environment to an archive, as it lies below /. Returns the names of its programs."""
    programs: list[str] = []
    root = ENVIRONMENT.lstrip("/")
    with tarfile.open(fileobj=archive, mode="w") as tar:
        settings = f"home = {Path(python).parent}\ninclude-system-site-packages = false\nversion = {version}\n"
        _add(tar, f"{root}/pyvenv.cfg", settings.encode())
        for name in ("python", "python3", f"python{version}"):
            _link(tar, f"{root}/bin/{name}", python)
        for path in sorted(packages.rglob("*")):
            inside = path.relative_to(packages)
            if path.is_dir() or inside.parts[0].startswith(".") or path.suffix == ".pyc":
                continue
            if inside.parts[0] == "bin" and len(inside.parts) == 2:
                data = path.read_bytes()
                first, newline, rest = data.partition(b"\n")
                if first.startswith(b"#!") and b"python" in first:
                    data = f"#!{ENVIRONMENT}/bin/python".encode() + newline + rest
                _add(tar, f"{root}/bin/{path.name}", data, 0o755)
                _link(tar, f"usr/local/bin/{path.name}", f"{ENVIRONMENT}/bin/{path.name}")
                programs.append(path.name)
            else:
                tar.add(path, f"{root}/lib/python{version}/site-packages/{inside}", recursive=False, filter=_plain)
    return programs


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.mode & 0o100 else 0o644
    return entry


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
    tar.addfile(entry)
