"""Installs packages of constraints.txt, then this checkout, into the environment it is run with.

    install.py PART     PART: `run` (what the workbench needs to run) or `dev` (that, and what tests and checks need)

Called by setup.sh. constraints.txt is complete, so nothing is resolved: each package is installed at its version, from
a wheel. uv does it where it is there, else pip. Says how far it is; what the installer said in full is in
`.venv/setup.log`. Only the standard library.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "constraints.txt"
DEV_HEADING = "# For tests and checks."
LOG = Path(sys.prefix) / "setup.log"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--progress-bar", "off"]
NOT_COMPILED = "--no-compile"
"""For pip: compiling all modules takes a third of the time, and Python compiles those that are used when it first
imports them. uv leaves it out by itself.
"""
QUIET_SECONDS = 10
"""How often a line is printed where the output is no terminal."""

_PACKAGE = re.compile(r"^\s*(?:Collecting|Requirement already satisfied:)\s+([A-Za-z0-9_.-]+)")
_DOWNLOAD = re.compile(r"^\s*Downloading (\S+).*\((.+)\)")
_NETWORK = re.compile(
    r"name resolution|Name or service not known|NewConnectionError|ConnectTimeout|ReadTimeout|timed out|Retrying|"
    r"ProxyError|SSLError|Connection (?:refused|reset|broken)",
)


class Progress:
    """One line that is drawn anew on a terminal; else a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._began = self._printed = time.monotonic()

    def show(self, text: str) -> None:
        """`text` with the seconds so far."""
        now = time.monotonic()
        line = f"setup: {text} ({now - self._began:.0f} s)"
        if self._terminal:
            print(f"\r\x1b[K{line[:100]}", end="", flush=True)
        elif now - self._printed >= QUIET_SECONDS:
            self._printed = now
            print(line, flush=True)

    def say(self, text: str) -> None:
        """A line that stays."""
        print(f"{chr(13)}{chr(27)}[K" if self._terminal else "", f"setup: {text}", sep="", flush=True)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began


def installer() -> list[str]:
    """The command that installs into this environment."""
    uv = shutil.which("uv")
    return [uv, "pip", "install", "--python", sys.executable] if uv else [*PIP, NOT_COMPILED]


def locked(part: str) -> list[str]:
    """The packages of a part, as constraints.txt has them: those for running come first, under a heading."""
    text = LOCK.read_text(encoding="utf-8")
    chosen = text.partition(f"\n{DEV_HEADING}\n")[0] if part == "run" else text
    return [line for line in chosen.splitlines() if line and not line.startswith("#")]


def run_installer(arguments: list[str], total: int, progress: Progress, log: TextIO) -> tuple[int, str]:
    """Run the installer, showing how far it is. Returns its exit code and all it said."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PIP_ROOT_USER_ACTION": "ignore", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [*installer(), *arguments], cwd=ROOT, env=environment, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    said: list[str] = []
    seen: set[str] = set()
    status = "asking for packages"
    while True:
        progress.show(status)
        try:
            line = lines.get(timeout=1)
        except queue.Empty:
            continue
        if line is None:
            break
        said.append(line)
        log.write(line)
        log.flush()
        if package := _PACKAGE.match(line):
            seen.add(package[1].lower())
            status = f"{min(len(seen), total)} of {total} packages: {package[1]}"
        elif download := _DOWNLOAD.match(line):
            status = f"{min(len(seen), total)} of {total} packages: downloading {download[1]}, {download[2]}"
        elif "Installing collected packages" in line:
            status = "unpacking what was downloaded"
        elif "Retrying" in line:
            status = "the package index does not answer; trying again"
    return process.wait(), "".join(said)


def explain(said: str) -> list[str]:
    """What to do about a failed installation."""
    if "No space left" in said or "Errno 28" in said:
        return ["the disk is full: free about 1 GB, then run the same command again"]
    if _NETWORK.search(said):
        return [
            "the packages could not be downloaded; only this first installation needs the network",
            "check the connection; behind a proxy set HTTPS_PROXY, with a mirror set PIP_INDEX_URL",
            "then run the same command again: what has been downloaded is kept",
        ]
    if "No matching distribution" in said or "no wheels" in said:
        return ["a package has no wheel for this machine or Python: take Python 3.11 to 3.13 (make PYTHON=…)"]
    if "Permission denied" in said or "Errno 13" in said:
        return [f"{ROOT} must be writable; `make clean` removes a .venv that belongs to somebody else"]
    return ["run the same command again; if it fails again, `make clean` first, and report it with that log"]


def main(part: str) -> int:
    """Install. Returns the exit code."""
    packages = locked(part)
    progress = Progress()
    progress.say(f"installing {len(packages)} packages into .venv (once; about half a minute)")
    with LOG.open("w", encoding="utf-8") as log, tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("\n".join(packages) + "\n")
        listed.flush()
        fixed = ["--no-deps", "--only-binary", ":all:", "-r", listed.name]
        code, said = run_installer(fixed, len(packages), progress, log)
        if code == 0:
            # The build tools are installed by now, at their pinned versions: none are fetched for the build.
            arguments = ["--no-deps", "--no-build-isolation", "-e", "."]
            code, said = run_installer(arguments, len(packages), progress, log)
    if code == 0:
        progress.say(f"done in {progress.seconds:.0f} s")
        return 0
    progress.say("the installation failed:")
    errors = [line.strip() for line in said.splitlines() if line.lstrip().startswith("ERROR")]
    for line in errors[-4:] or said.strip().splitlines()[-4:]:
        print(f"    {line[:300]}", file=sys.stderr)
    for hint in [*explain(said), f"all that was said: {LOG}"]:
        print(f"  → {hint}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "dev"))
    except KeyboardInterrupt:
        print("\nsetup: stopped; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
