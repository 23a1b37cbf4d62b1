"""Commands that run confined by bubblewrap: the namespaces, what is visible, what is writable, the limits.

Used for the agent's sandbox and for clean-room evaluation. Run by root, everything is handed to an unprivileged user
first (process limits do not bind root); folders that this user could not reach are staged in a private mount
namespace, so that the profile is the same for everybody.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench.isolation.gpus import device_nodes, visible_devices
from workbench.isolation.known import NAMESPACE_SWITCHES, boundaries, known, problem_with, programs
from workbench.isolation.processes import said_beside
from workbench.isolation.spec import HOME, Confinement, ResourceLimits
from workbench.isolation.temporary import OwnedFolder
from workbench.isolation.users import HOST_UID, processes_of, running_as_root, sandbox_uid
from workbench.resources import checkout

INSIDE_UID = 1000
"""The user of the sandbox as seen inside."""
OPEN_FILES = 4096

_ETC_FILES = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "ssl/certs", "ssl/openssl.cnf", "ca-certificates",
    "pki/tls/certs", "localtime", "timezone", "mime.types", "terminfo", "services", "protocols", "inputrc", "magic",
    "magic.mime", "vim", "python3", "python3.11", "OpenCL", "fonts", "matplotlibrc",
)  # fmt: skip
_ETC_FILES_NETWORK = ("resolv.conf", "gai.conf")
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@functools.cache
def python_inside() -> tuple[str, Path | None]:
    """Python >= 3.8 as the sandbox finds it, and the folder that must be mounted for it (None when it is in /usr)."""
    system = "/usr/bin/python3"
    if os.path.exists(system):

        def too_old() -> str | None:
            check = "import sys; sys.exit(sys.version_info < (3, 8))"
            done = subprocess.run([system, "-I", "-S", "-c", check], capture_output=True, check=False)
            return "it is too old" if done.returncode else None

        if problem_with("system python", [*programs(system)], too_old) is None:
            return system, None
    prefix = Path(os.path.realpath(sys.base_prefix))
    binary = prefix / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return str(binary), None if prefix.is_relative_to("/usr") else prefix


@functools.cache
def bubblewrap_options() -> frozenset[str]:
    """Options that the installed bubblewrap knows; empty when there is none."""
    return frozenset(word for word in _bubblewrap_says("--help").split() if word.startswith("--"))


@functools.cache
def bubblewrap_version() -> str:
    """Version of the installed bubblewrap, or ''."""
    return _bubblewrap_says("--version").strip().rpartition(" ")[2]


def _bubblewrap_says(option: str) -> str:
    def ask() -> str:
        try:
            done = subprocess.run(["bwrap", option], capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return done.stdout + done.stderr

    return known(f"bwrap {option}", [*programs("bwrap")], ask)


def limit_command(limits: ResourceLimits) -> list[str]:
    """The prefix that sets resource limits."""
    processes = None if limits.processes is None else limits.processes + _processes_counted_already()
    given = process_limits(processes, limits.file_bytes)
    return ["prlimit", *(f"--{name}={value}:{value}" for name, value in given.items()), "--"]


def process_limits(processes: int | None, file_bytes: int | None) -> dict[str, int]:
    """The limits of each confined process, by their short names. `processes`: of its user, all in all.

    Memory is not among them but watched: RLIMIT_AS breaks GPU libraries.
    """
    wanted = {"core": 0, "nofile": OPEN_FILES, "nproc": processes, "fsize": file_bytes}
    return {name: _within_own(name, value) for name, value in wanted.items() if value is not None}


def _within_own(name: str, value: int) -> int:
    """A limit, or this process's own hard one where that is lower: one above it cannot be set."""
    hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def lowered_limits(limits: ResourceLimits) -> list[str]:
    """In sentences: which limits of this machine are below those that the sandbox was to have."""
    wanted = (
        ("nofile", "open files", "-n", OPEN_FILES, 1),
        ("nproc", "processes", "-u", limits.processes, 1),
        ("fsize", "KB in a file", "-f", limits.file_bytes, 1024),
    )
    return [
        f"this machine allows no more than {own // unit:,} {what} (ulimit -H{flag[1]}), so the sandbox does not either"
        for name, what, flag, value, unit in wanted
        if value is not None and (own := _within_own(name, value)) < value
    ]


def _processes_counted_already() -> int:
    """Before Linux 5.14 the limit counts all processes of the user, not only those of the namespace."""
    release = platform.release().split(".")
    if (int(release[0]), int("".join(c for c in release[1] if c.isdigit()) or 0)) >= (5, 14):
        return 0
    return processes_of(sandbox_uid())


def bwrap_command(argv: Sequence[str], confinement: Confinement, run_folder: Path) -> list[str]:
    """The command line that runs `argv` confined.

    `run_folder` is an empty folder of the caller's, which must be there until the command has started (afterwards it
    may be deleted). The command is the only child of bubblewrap: killing it kills everything in the sandbox, and so
    does the end of the calling thread. It is process 1 inside: it must wait for orphans, and no signal from inside can
    kill or stop it. It is started with no signal blocked, standard streams and open descriptors are inherited.
    """
    etc = _write_etc(run_folder)
    known = bubblewrap_options()
    binary, python_prefix = python_inside()
    prefixes = [] if python_prefix is None else [python_prefix]
    stage = _Stage(run_folder, [*confinement.readonly, *confinement.writable, *prefixes])
    command = ["bwrap", "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
    command += [] if confinement.network else ["--unshare-net"]
    command += ["--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID), "--hostname", "sandbox"]
    command += ["--die-with-parent", "--as-pid-1", "--cap-drop", "ALL", "--clearenv"]
    command += ["--disable-userns"] if "--disable-userns" in known else []
    command += ["--ro-bind", "/usr", "/usr", *_merged_folders(), "--proc", "/proc", "--dev", "/dev"]
    if os.path.exists("/proc/keys"):  # the user's, whatever the namespaces
        command += ["--ro-bind", "/dev/null", "/proc/keys"]
    mounted = {Path("/usr"): Path("/usr"), **{prefix.resolve(): prefix for prefix in prefixes}}
    brought = {path.resolve(): Path(place) for path, place in confinement.readonly.items() if path.is_dir()}
    for path, mode in (("/dev/shm", "1777"), ("/tmp", "1777"), (HOME, "0755")):
        command += ["--perms", mode] if "--perms" in known else []
        command += [*_size(confinement.scratch_bytes, known), "--tmpfs", path]
    for device in device_nodes(confinement.gpus):
        command += ["--dev-bind-try", device, device]
    for name in (*_ETC_FILES, *(_ETC_FILES_NETWORK if confinement.network else ())):
        command += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for name in sorted(os.listdir(etc)):
        command += ["--ro-bind", stage.reachable(etc / name), f"/etc/{name}"]
    if python_prefix is not None:
        command += ["--ro-bind", stage.reachable(python_prefix), str(python_prefix)]
    for place, target in confinement.links.items():
        command += ["--symlink", target, place]
    command += _hide(hidden_in(mounted, confinement.hidden), known)
    binds = [("--ro-bind", *bind) for bind in confinement.readonly.items()]
    binds += [("--bind", *bind) for bind in confinement.writable.items()]
    for option, source, target in sorted(binds, key=lambda bind: bind[2].count("/")):  # what is inside comes later
        command += [option, stage.reachable(source), target]
    command += _hide(hidden_in(brought, confinement.hidden), known)
    env = {**confinement.environment, **visible_devices(confinement.gpus, confined=True)}
    if python_prefix is not None:
        env["PATH"] = f"{os.path.dirname(binary)}:{env['PATH']}"
    for name, value in env.items():
        command += ["--setenv", name, value]
    command += ["--remount-ro", "/", "--remount-ro", "/dev", "--chdir", confinement.cwd, "--"]
    return stage.wrap([*command, *limit_command(confinement.limits), *argv])


def _hide(places: Sequence[Path], known: frozenset[str]) -> list[str]:
    """Options that have these folders of the sandbox be empty."""
    return [
        word for place in places for word in (*_size(4096, known), "--tmpfs", str(place), "--remount-ro", str(place))
    ]


def _size(size: int, known: frozenset[str]) -> list[str]:
    return ["--size", str(size)] if "--size" in known else []


def _merged_folders() -> list[str]:
    """/bin and the like: links into /usr, or folders of their own on old systems."""
    options: list[str] = []
    for name in _MERGED:
        path = Path("/") / name
        if path.is_symlink():
            options += ["--symlink", f"usr/{name}", f"/{name}"]
        elif path.is_dir():
            options += ["--ro-bind", f"/{name}", f"/{name}"]
    return options


def _write_etc(run_folder: Path) -> Path:
    """The few files of /etc that name users and hosts, made for the sandbox."""
    etc = run_folder / "etc"
    etc.mkdir()
    etc.chmod(0o755)  # whatever the umask: the sandbox may be another user's
    files = {
        "passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\nagent:x:{INSIDE_UID}:{INSIDE_UID}::{HOME}:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
        "group": f"root:x:0:\nagent:x:{INSIDE_UID}:\ntty:x:5:\nnogroup:x:65534:\n",
        "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }
    for name, text in files.items():
        (etc / name).write_text(text)
        (etc / name).chmod(0o644)
    return etc


class _Stage:
    """As root: what HOST_UID may not be able to reach is bound to a place where it can, out of everybody's sight.

    The mounts are made in a private mount namespace, over a folder that every system has and nobody needs there.
    """

    _PLACES = ("/mnt", "/media", "/srv", "/opt")

    def __init__(self, run_folder: Path, sources: Sequence[Path]) -> None:
        self.folder = Path(os.path.realpath(run_folder))
        self.binds: list[tuple[str, str]] = []
        self.place = self.folder
        if running_as_root():
            run_folder.chmod(0o711)
            taken = [self.folder, *(Path(os.path.realpath(source)) for source in sources)]
            free = [place for place in self._PLACES if not any(path.is_relative_to(place) for path in taken)]
            self.place = next((Path(place) for place in free if os.path.isdir(place)), self.folder)
            if self.place != self.folder:
                self.binds.append((str(self.folder), str(self.place)))

    def reachable(self, path: Path) -> str:
        """Where bubblewrap finds that file or folder. Raises FileNotFoundError."""
        source = Path(os.path.realpath(path))
        if not running_as_root():
            return str(source)
        if source.is_relative_to(self.folder):
            return str(self.place / source.relative_to(self.folder))
        if not source.is_dir():
            source.stat()
            return f"{self._staged(source.parent)}/{source.name}"
        return self._staged(source)

    def _staged(self, folder: Path) -> str:
        for source, target in self.binds:  # each mount is a process more
            if source == str(folder):
                return target
        name = f"bind{len(self.binds)}"
        (self.folder / name).mkdir(mode=0o755)
        self.binds.append((str(folder), str(self.place / name)))
        return str(self.place / name)

    def wrap(self, command: list[str]) -> list[str]:
        """The command, in a private mount namespace and as HOST_UID when we are root."""
        if not running_as_root():
            return command
        user = ["setpriv", f"--reuid={HOST_UID}", f"--regid={HOST_UID}", "--clear-groups", "--no-new-privs", "--"]
        mounts = [part for bind in self.binds for part in bind]
        script = 'while [ "$1" != -- ]; do mount --bind -- "$1" "$2" || exit 1; shift 2; done; shift; exec "$@"'
        return ["unshare", "--mount", "--", "/bin/sh", "-c", script, "sh", *mounts, "--", *user, *command]


_HINT_DOCKER = "or use Docker: --sandbox docker"


WORKS = "bubblewrap works"


@functools.cache
def probe_bubblewrap() -> str | None:
    """None when bubblewrap can confine a command here; else why not, and how to mend it.

    It is tried where it is not known from an earlier start. Where it has changed since, a sandbox does not start, and
    says why: nothing runs unconfined for it.
    """
    needed = programs("bwrap", "prlimit", "setpriv", "unshare", "/usr/bin/python3")
    return problem_with(WORKS, [*needed, *boundaries()], try_bubblewrap)


def try_bubblewrap() -> str | None:
    """As `probe_bubblewrap`, but tried whatever is known."""
    if sys.platform != "linux":
        return f"bubblewrap needs Linux; use Docker here: --sandbox docker (this is {platform.system()})"
    for program, package in (
        ("bwrap", "bubblewrap"), ("prlimit", "util-linux"), ("setpriv", "util-linux"), ("unshare", "util-linux"),
    ):  # fmt: skip
        if shutil.which(program) is None:
            return f"{program} is not installed; install it: {installing(package)}, {_HINT_DOCKER}"
    inside = [python_inside()[0], "-I", "-S", "-c", "print('inside')"]
    try:
        with OwnedFolder("probe") as run_folder:
            complaint = said_beside(bwrap_command(inside, Confinement(), run_folder), "inside\n")
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap could not be tried: {error}; {_HINT_DOCKER}"
    return None if complaint is None else explain_failure(complaint)


def explain_failure(said: str) -> str:
    """What bubblewrap's complaint means, and how to mend it."""
    said = " ".join(said.split())[-500:]
    lower = said.lower()
    if lower.startswith("prlimit:"):
        return f"a limit of this machine is in the way ({said}); `ulimit -Ha` shows them"
    if "python" in lower and "no such file" in lower:
        return f"no Python in the sandbox ({said}); install it: {installing('python3')}"
    if "unknown option" in lower:
        return f"bubblewrap {bubblewrap_version()} is too old ({said}); 0.5 or later is needed, {_HINT_DOCKER}"
    if any(word in lower for word in ("namespace", "uid map", "loopback", "mount proc", "operation not permitted")):
        return f"bubblewrap may not make its namespaces here ({said}); {_namespace_hint()}, {_HINT_DOCKER}"
    return f"bubblewrap failed: {said}; {_HINT_DOCKER}"


def _namespace_hint() -> str:
    wrong = []
    for path, bad, good in NAMESPACE_SWITCHES:
        with contextlib.suppress(OSError):
            if Path(path).read_text().strip() == bad:
                wrong.append(f"{path.removeprefix('/proc/sys/').replace('/', '.')}={good}")
    if wrong:
        return f"allow them: sudo sysctl -w {' '.join(wrong)} (in /etc/sysctl.d it outlives a restart)"
    return "in a container, start it with --security-opt seccomp=unconfined --security-opt systempaths=unconfined"


_INSTALLERS = {"fedora": "dnf install", "rhel": "dnf install", "arch": "pacman -S", "suse": "zypper install"}


def installing(package: str) -> str:
    """The command that installs a package on this system: Debian's and Ubuntu's where it is none that is known."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        system = {}
    names = [system.get("ID", ""), *system.get("ID_LIKE", "").split()]
    found = [_INSTALLERS[name] for name in names if name in _INSTALLERS]
    return f"sudo {found[0] if found else 'apt install'} {package}"


_PACKAGE = Path(__file__).resolve().parent.parent


def hidden_in(mounted: Mapping[Path, Path], hide: Sequence[Path] = ()) -> list[Path]:
    """Where evaluators and answers would be seen, as they lie under something that is mounted. /usr and the host's
    Python are visible inside: where this package is installed there, its tasks would be too.

    `mounted`: folder of the host → place inside.

    Besides those in `hide`, these are this package (with the checkout that it runs from), any copy of it installed
    beside a mounted Python, and the folders of `$MLGYM_TASKS`.
    """
    named = [Path(part).expanduser() for part in os.environ.get("MLGYM_TASKS", "").split(os.pathsep) if part]
    source = checkout()
    wanted = {path.resolve() for path in (_PACKAGE, *([] if source is None else [source]), *named, *hide)}
    for root in mounted:
        for pattern in ("lib/python3*", "local/lib/python3*", "local/*/lib/python3*"):
            for packages in root.glob(f"{pattern}/*-packages"):
                wanted.update(path.resolve() for path in packages.glob("workbench") if path.is_dir())
    found: list[Path] = []
    for path in sorted(wanted):
        for root, place in mounted.items():
            if path.is_dir() and path.is_relative_to(root) and path != root:
                seen = place / path.relative_to(root)
                if not any(seen.is_relative_to(other) for other in found):
                    found.append(seen)
    return found
