"""Registers each task with Gymnasium, as `mlgym/<task id>-v0`."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

ENTRY_POINT = "workbench.gym.env:TaskEnv"
_ID = re.compile(r"""^id:\s*["']?([A-Za-z0-9][A-Za-z0-9_-]{0,63})["']?\s*(?:#.*)?$""", re.MULTILINE)


def register_tasks() -> None:
    """Register the tasks that ship with the package and those of `$MLGYM_TASKS`. Can be called again.

    Gymnasium before 1.0 calls it by itself, through the entry point `gymnasium.envs`.
    """
    from gymnasium.envs.registration import register, registry

    for ident in _task_ids():
        name = f"mlgym/{ident}-v0"
        if name not in registry:
            register(id=name, entry_point=ENTRY_POINT, kwargs={"task": ident})


def _task_ids() -> Iterator[str]:
    """The ids, without parsing the files: `import gymnasium` waits for this. Faults of a task are reported when it is
    made.
    """
    from workbench.tasks.catalogue import TASK_FILE, task_folders

    for folder in task_folders():
        try:
            found = _ID.search((folder / TASK_FILE).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        if found is not None:
            yield found[1]


def register_when_imported() -> None:
    """Register the tasks now if Gymnasium is loaded, else as soon as it is. Programs without it do not pay for its
    import.
    """
    if sys.modules.get("gymnasium") is not None:
        register_tasks()
    elif not any(isinstance(finder, _Gymnasium) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Gymnasium())


class _Gymnasium(MetaPathFinder):
    """Registers the tasks after Gymnasium has been imported."""

    _searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "gymnasium" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching = False
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            register_tasks()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
