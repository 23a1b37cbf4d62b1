"""How the agents' image is made.

There are two ways to the same image. With a registry in reach, `containers/Dockerfile` is built. Without one, the
system is put together from Debian packages by debootstrap and imported. Both install `containers/packages.txt` and
end with `containers/prepare.sh`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.isolation.container import run_in_image
from workbench.isolation.engine import EngineError, engine, engine_errors
from workbench.isolation.image import RECIPE_LABEL, inspect_image, recipe, remove_unused
from workbench.isolation.processes import run_and_tell
from workbench.isolation.spec import DEFAULT_IMAGE, SandboxError
from workbench.isolation.temporary import OwnedFolder, image_build_base
from workbench.resources import data_folder
from workbench.text import megabytes

if TYPE_CHECKING:
    from docker import APIClient

SUITE = "bookworm"
BASE_IMAGE = f"debian:{SUITE}-slim"
DEFAULT_MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NEEDED_BYTES = 1 << 30
"""Free space wanted for the unpacked system while it is put together."""

Method = Literal["auto", "debian", "dockerfile"]
Progress = Callable[[str], None]


def packages() -> list[str]:
    """Debian packages of the image, by name."""
    lines = (data_folder("containers") / "packages.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def build_image(progress: Progress, *, tag: str = DEFAULT_IMAGE, method: Method = "auto") -> None:
    """Make the image, start it once, and name it `tag`; `progress` is given lines of text as the work goes on.

    Takes one to two minutes. `auto` builds the Dockerfile when its base image can be had, and from Debian packages
    otherwise. Interrupting it (KeyboardInterrupt) leaves nothing behind. Raises SandboxError.
    """
    repository, _, version = tag.rpartition(":")
    with engine() as api:
        if method == "auto":
            method = "dockerfile" if base_image_in_reach(api, progress) else "debian"
        previous = inspect_image(api, tag)
        made = (_build_from_dockerfile if method == "dockerfile" else _build_from_debian_packages)(api, progress)
        named = False
        try:
            progress("starting it once")
            with run_in_image(api, made, ["bash", "-c", "python3 -c 'print(6 * 7)'"]) as (_, said):
                pass
            if said.strip() != "42":
                raise SandboxError(
                    f"the image was made, but a container of it does not run: {said.strip()[-500:] or 'it is silent'}",
                    "see what the engine says: `mlgym-tui doctor`",
                )
            with engine_errors():
                named = api.tag(made, repository or tag, version if repository else "latest")
        finally:
            if not named:
                remove_unused(api, made)
        if previous is not None and previous["Id"] != made:
            remove_unused(api, previous["Id"])
    progress(f"image {tag} is ready")


def base_image_in_reach(api: APIClient, progress: Progress) -> bool:
    """Whether the Dockerfile's base image is here, or the engine reaches a registry that has it."""
    if inspect_image(api, BASE_IMAGE) is not None:
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


def find_mirror(options: Sequence[str] = ()) -> str:
    """The mirror that this machine's apt takes Debian from, or Debian's own one. `options` are for apt."""
    # apt itself reads its source files, in either format, and says what an update would fetch.
    said = ""
    with suppress(OSError):
        command = ["apt-get", *options, "update", "--print-uris"]
        said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout
    found = re.search(rf"^'((?:https?|file):[^' ]*?)/*/dists/{SUITE}/[^' ]*/binary-", said, re.MULTILINE)
    return found[1] if found else DEFAULT_MIRROR


def _build_from_dockerfile(api: APIClient, progress: Progress) -> str:
    folder = data_folder("containers")
    progress(f"building {folder / 'Dockerfile'}")
    made = ""
    for part in api.build(path=str(folder), rm=True, forcerm=True, decode=True, labels={RECIPE_LABEL: recipe()}):
        if part.get("error"):
            raise SandboxError(
                f"the image could not be built: {part['error'].strip()}",
                "try `mlgym-tui image build --method debian`, which needs no registry",
            )
        said = str(part.get("stream") or part.get("status") or "")
        built = re.match(r"Successfully built ([0-9a-f]{12,})", said)
        made = (part.get("aux") or {}).get("ID") or (built[1] if built else made)
        for line in said.splitlines():
            if line.strip():
                progress(line.rstrip())
    return str(made)


def _build_from_debian_packages(api: APIClient, progress: Progress) -> str:
    _check_bootstrap_is_possible()
    mirror = find_mirror()
    with OwnedFolder("image", image_build_base()) as folder:
        folder.chmod(0o755)  # the new system's own users must reach what is in it
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
        return _import(api, root)


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
            f"{image_build_base()} has {megabytes(free)} free and {megabytes(NEEDED_BYTES)} are needed",
            "free some space, or set TMPDIR to a folder that has it",
        )


def _run(command: list[str], progress: Progress, what: str) -> None:
    """Run a step of the build in namespaces of its own: its mounts and processes outlive neither it nor us."""
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
    wrapped = ["setpriv", "--pdeathsig", "KILL", *namespaces, *command]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    status, tail = run_and_tell(wrapped, progress, env=environment)
    if status != 0:
        raise SandboxError(
            f"{what} failed with status {status}: {' / '.join(tail[-5:]) or 'it said nothing'}",
            "check that a Debian mirror can be reached (apt-get update) and that the disk is not full",
        )


def _import(api: APIClient, root: Path) -> str:
    """The id of an image that has no name yet: Podman would forget the version in it."""
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
    answer = str(api.import_image_from_file(str(archive), changes=changes))
    found = re.search(r'"status":"(sha256:[0-9a-f]{64})"', answer)
    if found is None:
        raise SandboxError(f"the engine did not take the image: {answer.strip()[-500:]}")
    return found[1]


def _without_devices(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """An engine provides /dev itself."""
    return None if entry.ischr() or entry.isblk() else entry
