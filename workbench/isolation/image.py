"""The image that Docker sandboxes run: which one it is, whether it is here, and how it is made.

There are two ways to the same image. With a registry in reach, `containers/Dockerfile` is built. Without one, the
system is put together from Debian packages by debootstrap and imported. Both install `containers/packages.txt` and
end with `containers/prepare.sh`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench import __version__
from workbench.isolation.engine import EngineError, engine, engine_errors
from workbench.isolation.spec import SandboxError
from workbench.isolation.temporary import OwnedFolder, image_build_base
from workbench.resources import data_folder

if TYPE_CHECKING:
    from docker import APIClient

DEFAULT_IMAGE = f"mlgym-tui/agent:{__version__}"
RECIPE_LABEL = "mlgym-tui.recipe"
"""Label of our images: hash of the files they were made from."""

SUITE = "bookworm"
BASE_IMAGE = f"debian:{SUITE}-slim"
DEFAULT_MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NEEDED_BYTES = 1 << 30
"""Free space wanted for the unpacked system while it is put together."""

Method = Literal["auto", "debian", "dockerfile"]
Progress = Callable[[str], None]
ImageState = Literal["missing", "outdated", "current"]


def recipe() -> str:
    """Hash of what the image is made from: changes when an image that is already there should be built anew."""
    folder = data_folder("containers")
    digest = hashlib.sha256()
    for name in ("Dockerfile", "packages.txt", "prepare.sh"):
        digest.update((folder / name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def packages() -> list[str]:
    """Debian packages of the image, by name."""
    lines = (data_folder("containers") / "packages.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def image_state(tag: str = DEFAULT_IMAGE) -> ImageState:
    """Whether the image is there, and made from the recipe of this version. Raises SandboxError without an engine."""
    with engine() as api:
        labels = _labels(api, tag)
    if labels is None:
        return "missing"
    return "current" if labels.get(RECIPE_LABEL) == recipe() else "outdated"


def build_image(progress: Progress, *, tag: str = DEFAULT_IMAGE, method: Method = "auto") -> None:
    """Make the image and name it `tag`; `progress` is given lines of text as the work goes on.

    Takes one to two minutes. `auto` builds the Dockerfile when its base image can be had, and from Debian packages
    otherwise. Interrupting it (KeyboardInterrupt) leaves nothing behind. Raises SandboxError.
    """
    with engine() as api:
        if method == "auto":
            method = "dockerfile" if base_image_in_reach(api, progress) else "debian"
        previous = _image_id(api, tag)
        if method == "dockerfile":
            _build_from_dockerfile(api, tag, progress)
        else:
            _build_from_debian_packages(api, tag, progress)
        if previous is not None and previous != _image_id(api, tag):
            _remove_unused(api, previous)
    progress(f"image {tag} is ready")


def base_image_in_reach(api: APIClient, progress: Progress) -> bool:
    """Whether the Dockerfile's base image is here, or the engine reaches a registry that has it."""
    if _labels(api, BASE_IMAGE) is not None:
        return True
    progress(f"asking the engine's registry for {BASE_IMAGE}")
    patience, api.timeout = api.timeout, 15
    try:
        ask: Any = api.inspect_distribution  # the stubs know no types for it
        with engine_errors():
            ask(BASE_IMAGE)
    except EngineError:
        progress("no registry can be reached: the image is put together from Debian packages")
        return False
    finally:
        api.timeout = patience
    return True


def find_old_images(keep: str = DEFAULT_IMAGE) -> list[str]:
    """Images of ours other than `keep`: names, or ids where there is none. Raises SandboxError."""
    with engine() as api:
        kept = _image_id(api, keep)
        found = [image for image in api.images(filters={"label": RECIPE_LABEL}) if image["Id"] != kept]
    names: list[str] = []
    for image in found:
        tags = [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
        names += tags or [image["Id"]]
    return sorted(names)


def remove_images(names: Sequence[str]) -> list[str]:
    """Remove images, but for those that a container uses. What was removed. Raises SandboxError."""
    with engine() as api:
        return [name for name in names if _remove_unused(api, name)]


def find_mirror(sources: Sequence[tuple[str, str]] | None = None) -> str:
    """The mirror this machine's apt takes Debian from, or Debian's own one.

    `sources` are (file name, text) of apt's source files; by default those of this machine.
    """
    for name, text in _apt_sources() if sources is None else sources:
        for uri, suites in _deb822_entries(text) if name.endswith(".sources") else _one_line_entries(text):
            if SUITE in suites and uri.startswith(("http://", "https://", "file:")):
                return uri.rstrip("/")
    return DEFAULT_MIRROR


def _apt_sources() -> list[tuple[str, str]]:
    folder = Path("/etc/apt/sources.list.d")
    files = [Path("/etc/apt/sources.list"), *(sorted(folder.iterdir()) if folder.is_dir() else [])]
    found = []
    for file in files:
        if file.suffix in (".list", ".sources"):
            try:
                found.append((file.name, file.read_text(encoding="utf-8", errors="replace")))
            except OSError:
                continue
    return found


def _one_line_entries(text: str) -> Iterator[tuple[str, list[str]]]:
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)", line.split("#")[0].strip())
        if match:
            yield match[1], [match[2]]


def _deb822_entries(text: str) -> Iterator[tuple[str, list[str]]]:
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[key] = f"{fields.get(key, '')} {line.strip()}"
            elif ":" in line:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.strip()
        if fields.get("enabled", "yes").lower() in ("no", "false", "0") or "deb" not in fields.get("types", "").split():
            continue
        for uri in fields.get("uris", "").split():
            yield uri, fields.get("suites", "").split()


def _build_from_dockerfile(api: APIClient, tag: str, progress: Progress) -> None:
    folder = data_folder("containers")
    progress(f"building {folder / 'Dockerfile'}")
    labels = {RECIPE_LABEL: recipe()}
    for part in api.build(path=str(folder), tag=tag, rm=True, forcerm=True, decode=True, labels=labels):
        if part.get("error"):
            raise SandboxError(
                f"the image could not be built: {part['error'].strip()}",
                "try `mlgym-tui image build --method debian`, which needs no registry",
            )
        for line in str(part.get("stream") or part.get("status") or "").splitlines():
            if line.strip():
                progress(line.rstrip())


def _build_from_debian_packages(api: APIClient, tag: str, progress: Progress) -> None:
    _check_bootstrap_is_possible()
    mirror = find_mirror()
    with _temporary_folder() as folder:
        root = folder / "root"
        progress(f"taking Debian packages from {mirror} (about a minute)")
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(packages())}"]
        if KEYRING.is_file():
            command.append(f"--keyring={KEYRING}")
        _run([*command, SUITE, str(root), mirror], progress, "debootstrap")
        shutil.copy(data_folder("containers") / "prepare.sh", root / "prepare.sh")
        _run(["chroot", str(root), "/bin/sh", "/prepare.sh"], progress, "preparing the system")
        (root / "prepare.sh").unlink()
        progress("importing the system into the engine")
        _import(api, root, tag)


def _check_bootstrap_is_possible() -> None:
    if os.geteuid() != 0:
        raise SandboxError(
            "an image is put together from Debian packages as root only",
            "run `sudo mlgym-tui image build`, or give the engine a registry it can reach",
        )
    missing = [name for name in ("debootstrap", "unshare", "setpriv", "chroot") if shutil.which(name) is None]
    if missing:
        raise SandboxError(f"{' and '.join(missing)} not found", "install it: apt-get install debootstrap util-linux")
    free = shutil.disk_usage(image_build_base()).free
    if free < NEEDED_BYTES:
        raise SandboxError(
            f"{image_build_base()} has {free >> 20} MB free and {NEEDED_BYTES >> 20} MB are needed",
            "free some space, or set TMPDIR to a folder that has it",
        )


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = OwnedFolder("image", image_build_base())
    folder.path.chmod(0o755)  # the new system's own users must reach what is in it
    try:
        yield folder.path
    finally:
        folder.remove()


def _run(command: list[str], progress: Progress, what: str) -> None:
    """Run a step of the build in namespaces of its own: its mounts and processes outlive neither it nor us."""
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
    wrapped = ["setpriv", "--pdeathsig", "KILL", *namespaces, *command]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    process = subprocess.Popen(
        wrapped,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,  # ctrl+c is for us: we end it
    )
    tail: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                progress(line.rstrip())
                tail = [*tail[-4:], line.strip()]
        status = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if status != 0:
        raise SandboxError(
            f"{what} failed with status {status}: {' / '.join(tail) or 'it said nothing'}",
            "check that a Debian mirror can be reached (apt-get update) and that the disk is not full",
        )


def _import(api: APIClient, root: Path, tag: str) -> None:
    repository, _, version = tag.rpartition(":")
    changes = [
        f"LABEL {RECIPE_LABEL}={recipe()}",
        "ENV LANG=C.UTF-8",
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "WORKDIR /home/agent/workspace",
        'CMD ["/bin/bash"]',
    ]
    archive = root.with_name("root.tar")
    with tarfile.open(archive, "w") as tar:
        tar.add(root, arcname=".", filter=_without_devices)
    answer: Any = api.import_image_from_file(str(archive), repository=repository, tag=version, changes=changes)
    if '"error"' in str(answer):
        raise SandboxError(f"the engine did not take the image: {answer}")


def _without_devices(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """An engine provides /dev itself."""
    return None if entry.ischr() or entry.isblk() else entry


def _inspect(api: APIClient, tag: str) -> dict[str, Any] | None:
    inspect: Any = api.inspect_image  # the stubs know no types for it
    try:
        with engine_errors():
            return dict(inspect(tag))
    except EngineError as error:
        if error.status == 404:
            return None
        raise


def _labels(api: APIClient, tag: str) -> dict[str, str] | None:
    """Labels of an image, or None when it is not there."""
    found = _inspect(api, tag)
    return None if found is None else found.get("Config", {}).get("Labels") or {}


def _image_id(api: APIClient, tag: str) -> str | None:
    found = _inspect(api, tag)
    return None if found is None else str(found["Id"])


def _remove_unused(api: APIClient, image: str) -> bool:
    """Remove an image, unless it is gone or a container uses it; whether it was removed."""
    try:
        with engine_errors():
            api.remove_image(image)
        return True
    except EngineError as error:
        if error.status not in (404, 409):  # gone already; in use
            raise
        return False
