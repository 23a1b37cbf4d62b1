"""What every test gets: skipping of what this machine cannot run, a user's environment of its own, no keys."""

from __future__ import annotations

import faulthandler
import functools
import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.stretching import quick_secrets

REQUIRE_ALL = "MLGYM_REQUIRE_ALL"
"""Set (to anything), a test that would be skipped for a missing bubblewrap, Docker, tmux or package fails instead."""

settings.register_profile("workbench", deadline=None)
settings.register_profile("reproducible", deadline=None, derandomize=True)

LAST_RESORT = 150
"""Seconds. pytest-timeout ends a test after 100; a clean-up that waits for ever outlives that: then the run ends."""

_SECRET_ENDINGS = ("_API_KEY", "_AUTH_TOKEN", "_ACCESS_TOKEN", "_SECRET_KEY")
_private_folder = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module is imported: nothing of the user's is read, and nothing is written there."""
    from workbench.session.secrets import cache_folder

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a script's background job; children would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    packages = cache_folder() / "packages"
    settings.load_profile("reproducible" if os.environ.get(REQUIRE_ALL) or os.environ.get("CI") else "workbench")
    home = Path(tempfile.mkdtemp(prefix="mlgym-tests-"))
    config.stash[_private_folder] = home
    for name in [name for name in os.environ if name.endswith(_SECRET_ENDINGS) or name == "HF_TOKEN"]:
        del os.environ[name]
    for name in (
        "SLURM_JOB_ID",
        "MLGYM_TASKS",
        "NO_COLOR",
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
        "XDG_DATA_HOME",
        "TMUX",
        "TMUX_PANE",
    ):
        os.environ.pop(name, None)
    os.environ["HOME"] = str(home)
    os.environ["XDG_STATE_HOME"] = str(home / "state")
    os.environ["MLGYM_SESSIONS"] = str(home / "sessions")
    here = cache_folder() / "packages"
    if here != packages and packages.is_dir():  # what tasks need takes minutes to install: it is the user's
        here.parent.mkdir(parents=True)
        here.symlink_to(packages)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the tests left in their home."""
    shutil.rmtree(config.stash[_private_folder], ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in which sandboxes or programs are started come first, so that no worker is left alone with one at the end;
    those with many tests come before others.
    """
    starts = {item.path for item in items if any(item.get_closest_marker(name) for name in _PROBLEMS)}
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in starts, -tests[item.path], item.path))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """The modules stay: a third of the time of the screen's tests went into looking through them for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@functools.cache
def bubblewrap_problem() -> str | None:
    """Why tests marked `bwrap` cannot run here, or None."""
    from workbench.isolation.bwrap import probe_bubblewrap

    problem = probe_bubblewrap()
    return None if problem is None else f"no local sandbox: {problem}"


@functools.cache
def landlock_problem() -> str | None:
    """Why tests marked `landlock` cannot run here, or None."""
    from workbench.isolation.landlock import probe_landlock

    problem = probe_landlock()
    return None if problem is None else f"no Landlock: {problem}"


@functools.cache
def docker_problem() -> str | None:
    """Why tests marked `docker` cannot run here, or None."""
    from workbench.isolation.image import image_state
    from workbench.isolation.spec import DEFAULT_IMAGE, SandboxError

    try:
        state = image_state(time_limit=2.0)
    except SandboxError as error:
        return f"no Docker: {error.in_full} (as root, scripts/start-docker.sh installs and starts one)"
    return None if state == "current" else f"the image {DEFAULT_IMAGE} is {state}; run: mlgym-tui image build"


@functools.cache
def tmux_problem() -> str | None:
    """Why tests marked `tmux` cannot run here, or None."""
    return None if shutil.which("tmux") else "no tmux; install it: sudo apt-get install tmux"


@functools.cache
def packages_problem(ident: str) -> str | None:
    """Why tests marked `packages(ident)` cannot run here, or None."""
    from workbench.tasks.catalogue import find_task
    from workbench.tasks.packages import installed_for

    found = installed_for(find_task(ident), "local", "")
    return None if found else f"the packages of {ident} are not installed; run: mlgym-tui tasks prepare {ident}"


_PROBLEMS: dict[str, Callable[..., str | None]] = {
    "bwrap": bubblewrap_problem,
    "landlock": landlock_problem,
    "docker": docker_problem,
    "tmux": tmux_problem,
    "packages": packages_problem,
}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip by marker, before any fixture is made. All skips of one reason come from here, so that -ra groups them."""
    quick_secrets()  # each time: what a test before has imported is quick from now on
    for name, problem in _PROBLEMS.items():
        marker = item.get_closest_marker(name)
        if marker is None:
            continue
        reason = problem(*marker.args)
        if reason is None:
            continue
        if os.environ.get(REQUIRE_ALL):
            pytest.fail(f"{REQUIRE_ALL} is set, but: {reason}", pytrace=False)
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """No test, nor its clean-up, hangs the run."""
    timer = threading.Timer(LAST_RESORT, _give_up, [item])
    timer.daemon = True
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()


def _give_up(item: pytest.Item) -> None:
    capture = item.config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)
    print(f"\n{item.nodeid} hangs and cannot be stopped; the run ends here. Where it is:", file=sys.stderr, flush=True)
    faulthandler.dump_traceback(all_threads=True)
    os._exit(70)
