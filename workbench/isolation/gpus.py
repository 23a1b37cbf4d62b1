"""GPUs: which are here, how one asks for some, and leases, so that sessions never share one unless asked.

A lease is a lock (flock) on a file for each GPU, which goes with the process that holds it, however it ends. Another
file for each is locked by those who share. Nobody waits for a GPU: who asks for one of its own is told who holds it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from workbench.isolation.batch import gpus_granted
from workbench.isolation.spec import SandboxError
from workbench.session.files import NoLocks, lock
from workbench.text import many

_DEVICE = re.compile(r"nvidia(\d+)")
_REQUEST = re.compile(r"\d{1,3}(?P<list>(,\d{1,3})*,?)")
_COMMON = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")
_DRIVER = Path("/proc/driver/nvidia/gpus")

Devices = Callable[[], Sequence[int]]
"""Lists the GPUs of a machine."""


class GpuError(SandboxError):
    """The GPUs asked for cannot be had."""


class GpuRequest(msgspec.Struct, frozen=True):
    """What was asked for: so many, or those with these indices."""

    count: int = 0
    indices: tuple[int, ...] = ()

    @property
    def number(self) -> int:
        """How many."""
        return len(self.indices) or self.count


def read_request(text: str) -> GpuRequest:
    """`2` is any two, `0,3` are those two, `3,` is that one, `none` is none. Raises GpuError."""
    if text == "none":
        return GpuRequest()
    found = _REQUEST.fullmatch(text)
    if found is None:
        raise GpuError(
            f"--gpus {text!r} is neither a number of GPUs nor a list of them",
            "2: any two; 0,3: those two; 3,: that one; none: none",
        )
    if not found["list"]:
        return GpuRequest(int(text))
    return GpuRequest(indices=tuple(dict.fromkeys(int(part) for part in text.split(",") if part)))


def list_gpus(devices: Path = Path("/dev")) -> list[int]:
    """Indices of this machine's NVIDIA devices, as far as this process may use them and was given them."""
    named = ((_DEVICE.fullmatch(path.name), path) for path in devices.glob("nvidia*"))
    seen = sorted(int(match[1]) for match, path in named if match and os.access(path, os.R_OK | os.W_OK))
    return gpus_granted(seen, _unique_ids(_DRIVER)) if seen else []


def device_nodes(gpus: Sequence[int]) -> list[str]:
    """Devices that a sandbox with these GPUs needs, and no others; none without GPUs."""
    return [*_COMMON, *(f"/dev/nvidia{index}" for index in gpus)] if gpus else []


def visible_devices(gpus: Sequence[int], *, confined: bool, driver: Path = _DRIVER) -> dict[str, str]:
    """CUDA_VISIBLE_DEVICES for these GPUs; nothing without GPUs.

    By their unique ids, where the driver tells them. CUDA counts only the devices that it can open: where others are
    hidden (`confined`), it counts these from 0.
    """
    if not gpus:
        return {}
    known = _unique_ids(driver)
    ids = [known.get(index, "") for index in gpus]
    if not all(ids):
        ids = [str(index) for index in (range(len(gpus)) if confined else gpus)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(ids)}


def _unique_ids(driver: Path) -> dict[int, str]:
    """Unique ids by the number of the device."""
    found: dict[int, str] = {}
    for file in driver.glob("*/information"):
        with contextlib.suppress(OSError, KeyError, ValueError):
            fields = dict(line.partition(":")[::2] for line in file.read_text(errors="replace").splitlines())
            unique = fields["GPU UUID"].strip()
            if re.fullmatch(r"GPU-[0-9a-f-]{36}", unique):
                found[int(fields["Device Minor"])] = unique
    return found


class GpuLease:
    """GPUs of this process, until `release` or its end."""

    def __init__(self, gpus: tuple[int, ...] = (), locks: tuple[int, ...] = ()) -> None:
        self.gpus = gpus
        self._locks = locks

    def release(self) -> None:
        """Others may have them. Can be called twice."""
        locks, self._locks = self._locks, ()
        for held in locks:
            os.close(held)


def lease(request: GpuRequest, available: Sequence[int], folder: Path, holder: str, *, share: bool = False) -> GpuLease:
    """Take GPUs out of `available`; with `share`, also those that others have.

    `folder` holds the locks; all who are to respect each other name the same. `holder` is what others are told of us.
    Raises GpuError, which names who has them, or OSError. Nothing is taken then.
    """
    if not request.number:
        return GpuLease()
    unknown = [index for index in request.indices if index not in available]
    if unknown or request.count > len(available):
        here = f"this machine has GPU {_some(available)}" if available else "this machine has no GPU that can be seen"
        wanted = f"there is no GPU {_some(unknown)}" if unknown else f"{many(request.count, 'GPU')} wanted"
        raise GpuError(f"{wanted}: {here}", "--gpus none runs without")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    taken: dict[int, int] = {}
    try:
        candidates = request.indices or tuple(available)
        for take in (_take_alone, _take_shared) if share else (_take_alone,):
            for index in candidates:
                if index not in taken and len(taken) < request.number:
                    lock = take(folder, index, holder, share)
                    if lock is not None:
                        taken[index] = lock
        if len(taken) < request.number:
            busy = [index for index in candidates if index not in taken]
            raise GpuError(
                f"{many(request.number, 'GPU')} wanted, but "
                + "; ".join(f"GPU {index} is held by {_holder(folder, index)}" for index in busy),
                "end that session, or name others: --gpus; --share-gpus takes them all the same",
            )
    except BaseException:
        for held in taken.values():
            os.close(held)
        raise
    gpus = tuple(sorted(taken)) if not request.indices else request.indices
    return GpuLease(gpus, tuple(taken.values()))


def _take_alone(folder: Path, index: int, holder: str, share: bool) -> int | None:
    """The lock of a GPU that nobody has; None where somebody has it."""
    alone = _lock(folder / f"gpu-{index}")
    if alone is None:
        return None
    shared = _lock(folder / f"gpu-{index}.shared")
    if shared is None:
        os.close(alone)
        return None
    if share:  # nobody has it, and others may join
        os.close(shared)
        os.close(alone)
        return _take_shared(folder, index, holder, share)
    os.close(shared)
    _sign(alone, holder)
    return alone


def _take_shared(folder: Path, index: int, holder: str, _share: bool) -> int | None:
    """A lock that keeps those away who want the GPU alone; whoever has it already is not asked."""
    held = _lock(folder / f"gpu-{index}.shared", shared=True)  # held alone for an instant at most
    if held is not None:
        _sign(held, holder)
    return held


def _lock(path: Path, *, shared: bool = False) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if lock(descriptor, shared=shared, wait=shared):
            return descriptor
    except NoLocks as error:
        os.close(descriptor)
        raise GpuError(
            f"no GPU can be kept for this session alone: {path.parent}: {error.strerror}",
            "set $MLGYM_CACHE to a folder on a disk of this machine",
        ) from error
    os.close(descriptor)
    return None


def _sign(held: int, holder: str) -> None:
    """Say who we are, for the messages of others; a full disk keeps nobody from working."""
    with contextlib.suppress(OSError):
        os.ftruncate(held, 0)
        os.pwrite(held, json.dumps({"holder": holder[:200], "pid": os.getpid()}).encode(), 0)


def _holder(folder: Path, index: int) -> str:
    """Who has a GPU, as far as that is known."""
    alone = _lock(folder / f"gpu-{index}")
    if alone is not None:
        os.close(alone)
    path = folder / (f"gpu-{index}" if alone is None else f"gpu-{index}.shared")
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads(path.read_text(encoding="utf-8"))
        return f"{said['holder']} (process {int(said['pid'])})"
    return "another process"


def _some(indices: Sequence[int]) -> str:
    return ", ".join(map(str, indices))
