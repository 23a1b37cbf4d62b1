"""What a task asks of the machine: memory, processors and GPUs for the sandbox of its agent."""

from __future__ import annotations

from msgspec.structs import replace

from workbench.isolation.batch import granted
from workbench.isolation.gpus import Devices, GpuLease, GpuRequest, lease, list_gpus, read_request
from workbench.isolation.spec import ResourceLimits
from workbench.session.secrets import cache_folder
from workbench.tasks.catalogue import Task
from workbench.tasks.needs import lacking


def sandbox_limits(task: Task) -> ResourceLimits:
    """The limits of the agent's sandbox: the task's, and for the rest our own; no more than a batch system grants."""
    asked, usual, grant = task.spec.resources, ResourceLimits(), granted()
    memory, cpus = asked.memory_bytes or usual.memory_bytes, asked.cpus or usual.cpus
    if grant is not None:
        memory = min((each for each in (memory, grant.memory_bytes) if each), default=None)
        cpus = min((each for each in (cpus, grant.cpus) if each), default=None)
    return replace(usual, memory_bytes=memory, cpus=cpus)


def shortage_notes(task: Task) -> list[str]:
    """Notes on what a batch system grants, and on what the task asks for and this machine lacks; it runs anyway."""
    grant = granted()
    notes = [] if grant is None else [grant.described()]
    return [*notes, *(f"{shortage}: it may go slowly, or fail" for shortage in lacking(task))]


def lease_gpus(
    task: Task, asked: str = "", *, share: bool = False, holder: str, notes: list[str], devices: Devices = list_gpus
) -> GpuLease:
    """GPUs for a task, held by this process: those that `asked` names (as `--gpus`), else as many as the task needs. If
    the user named none and the machine has fewer, the session gets what there is, and a note. A stand-in of the data
    needs none. Raises GpuError where GPUs that were asked for are not there, or others have what is needed.
    """
    if asked:
        request = read_request(asked)
        here = devices() if request.number else ()
    else:
        needed = 0 if task.variant else task.spec.resources.gpus
        here = devices() if needed else ()
        if len(here) < needed:
            notes.append(
                f"the task asks for {needed} GPU{'s' * (needed > 1)}, and this machine has {len(here) or 'none'}: "
                f"{'that many are' if here else 'none is'} used"
            )
        request = GpuRequest(min(needed, len(here)))
    return lease(request, here, cache_folder() / "gpus", holder, share=share)
