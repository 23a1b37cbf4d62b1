"""What a training program says of itself is shown while it runs, and stays with its step."""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec
import pytest

from tests.runner.rig import ListAgent, driven
from workbench.environment.assembly import OURS
from workbench.isolation.usage import read_gpus
from workbench.library.curves import Curves
from workbench.library.metrics import of_session
from workbench.library.moments import condition as parsed
from workbench.library.moments import fields_of
from workbench.library.training import Reading
from workbench.runner import cockpit
from workbench.session import commands as do
from workbench.session import events as ev
from workbench.session.recording import Recording
from workbench.session.state import fold
from workbench.session.status import Gpu, LiveStatus, Resources
from workbench.tui.widgets.metrics_view import drawn, of_step


@pytest.mark.parametrize(("loss", "alarm"), [("0.25", ""), ("nan", "loss is nan at its step 2")])
async def test_metrics_are_shown_while_it_runs_and_logged_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str, alarm: str
) -> None:
    monkeypatch.setattr(cockpit, "_TICK", 0.01)
    go = tmp_path / "go"
    bars = "".join(
        f"\\r{at}/4 ━━━━━━ 0s 7ms/step - loss: {value}" for at, value in enumerate(["0.5", loss, "0.125"], 1)
    )
    action = f"printf '{bars}\\r'; until [ -e {go} ]; do sleep 0.01; done"
    async with driven(tmp_path, ListAgent([action, "submit"]), grounds=OURS) as session:
        status = f"running 3/4 · loss {loss}"
        await session.until(lambda: session.runner.status.progress.startswith(status), status)
        await session.until(lambda: session.runner.status.problem == alarm, alarm)
        go.touch()
        await session.until(lambda: session.events(ev.MetricLogged), "metrics logged")
        assert (session.runner.status.progress, session.runner.status.problem) == ("", "")
        await session.ended()
        [event] = session.events(ev.MetricLogged)
    assert (event.step, event.name, event.steps, event.total) == (1, "loss", (1, 2, 3), 4)
    assert event.values == (0.5, None if loss == "nan" else 0.25, 0.125)


def test_long_curves_are_thinned_and_come_back_without_the_shell(tmp_path: Path) -> None:
    readings = [Reading("loss", step, 1 / step) for step in range(1, 10_001)] + [Reading("b", None, math.inf)]
    events = list(Curves(readings, most=100).events(1))
    assert 50 <= len(events[0].steps) <= 101 and len(events[1].steps) == 1
    assert (events[0].steps[0], events[0].steps[-1], events[1].values) == (1, 10_000, (None,))
    state = fold([ev.SessionStarted(format=1, task="t"), ev.ActionProposed(step=1, author="m", action="x"), *events])
    found = list(of_session(Recording([], "mlgym-tui", tmp_path), state))
    assert (len(found), found[-2].step, found[-2].at) == (len(events[0].steps) + 1, 10_000, 1)


@pytest.mark.parametrize(
    ("condition", "printed"),
    [
        ("nan:loss => interrupt", "epoch 1: loss=nan"),
        ("rising>=3 => interrupt", "\\n".join(f"epoch {at}: loss={at}" for at in range(5))),
        ("took>0 => interrupt", ""),
        ("silent>=0 action:until => interrupt", ""),
        ("disk>0 command:printf not kind:submit => interrupt", ""),
    ],
)
async def test_a_condition_is_met_while_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, condition: str, printed: str
) -> None:
    monkeypatch.setattr(cockpit, "_TICK", 0.01)
    endless = f"printf '{printed}\\n'; until [ -e {tmp_path / 'never'} ]; do sleep 0.01; done"
    async with driven(tmp_path, ListAgent([endless, "submit"]), breakpoints=(condition,), grounds=OURS) as session:
        await session.ended()
        step = session.state.steps[1]
        assert step.interrupted and [hit.step for hit in session.events(ev.BreakpointHit)][:1] == [1]
        if printed:  # a replay finds it too
            assert parsed(condition.partition(" =>")[0]).matches(fields_of(session.state, step))


async def test_nobody_there_a_stop_ends_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cockpit, "_TICK", 0.01)
    endless = f"printf 'epoch 1: loss=inf\\n'; until [ -e {tmp_path / 'never'} ]; do sleep 0.01; done"
    async with driven(tmp_path, ListAgent([endless]), breakpoints=("nan:*",), grounds=OURS) as session:
        assert (await session.ended()).exit_status == "breakpoint"
        assert session.state.steps[1].interrupted


async def test_what_the_sandbox_uses_is_known_while_a_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cockpit, "_TICK", 0.01)
    monkeypatch.setattr(cockpit, "_MEASURED", 0.01)
    go = tmp_path / "go"
    async with driven(tmp_path, ListAgent([f"until [ -e {go} ]; do :; done", "submit"]), grounds=OURS) as session:

        def used() -> Resources:
            return session.runner.status.resources or Resources()

        await session.until(lambda: (used().cpus or 0) > 0.01, "processors")
        assert (used().memory or 0) > 1 << 20 and (used().disk_free or 0) > 0 and (used().memory_free or 0) > 0
        go.touch()
        await session.ended()
        assert session.runner.status.resources is None


def test_rows_of_nvidia_smi_are_read() -> None:
    said = "0, 83, 12288, 143771\n1, [N/A], [N/A], 143771\nNo devices were found\n"
    assert read_gpus(said) == (Gpu(0, 0.83, 12288 << 20, 143771 << 20),)


async def test_a_command_with_more_time_is_not_ended(tmp_path: Path) -> None:
    go = tmp_path / "go"
    agent = ListAgent([f"until [ -e {go} ]; do sleep 0.01; done", "submit"])
    async with driven(tmp_path, agent, grounds=OURS, limits=ev.Limits(seconds=3600.0)) as session:
        assert not session.runner.controls.extend(1.0)
        await session.until(lambda: session.runner.episode.shell.running, "the command")
        assert not (await session.runner.controls.do(do.Extend(float("nan")))).done
        limit = session.runner.episode.time.limit
        assert (await session.runner.controls.do(do.Extend(3600.0))).done
        assert session.runner.episode.time.limit == pytest.approx(limit + 3600)
        assert session.state.limits.seconds is not None and session.state.limits.seconds >= limit + 3600
        go.touch()
        await session.ended()
        assert session.state.steps[1].extended[0].limit == pytest.approx(limit + 3600)


async def test_lines_that_say_how_many_there_will_be_say_how_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cockpit, "_TICK", 0.01)
    go, more = tmp_path / "go", tmp_path / "more"
    wait = "until [ -e {} ]; do sleep 0.01; done"
    action = f"echo epoch 1/4: loss=1; {wait.format(more)}; echo epoch 2/4: loss=0.5; {wait.format(go)}"
    async with driven(tmp_path, ListAgent([action, "submit"]), grounds=OURS) as session:
        await session.until(lambda: session.runner.status.progress == "running 1/4 · loss 1", "no time yet")
        more.touch()
        await session.until(
            lambda: re.fullmatch(r"running 2/4 · loss 0.5 · \d+:\d\d left", session.runner.status.progress), "the time"
        )
        go.touch()
        await session.ended()


async def test_what_a_person_trains_is_shown_and_logged_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cockpit, "_TICK", 0.01)
    go = tmp_path / "go"
    async with driven(tmp_path, None, grounds=OURS, interactive=True) as session:
        await session.phase("waiting")
        session.runner.controls.take_over(100, 30)
        await session.phase("human")
        session.enter(f"printf 'epoch 1: loss=0.5\\nepoch 2: loss=0.25\\n'; until [ -e {go} ]; do sleep 0.01; done\r")
        await session.until(lambda: session.runner.status.progress == "running 2 · loss 0.25", "its progress")
        go.touch()
        await session.until(lambda: session.events(ev.MetricLogged), "metrics logged")
        session.enter("echo epoch 3: loss=0.125\r")
        await session.until(lambda: len(session.events(ev.MetricLogged)) == 2, "those of the next command")
        assert [(each.step, each.steps) for each in session.events(ev.MetricLogged)] == [(1, (1, 2)), (2, (3,))]
        assert session.runner.status.progress == "" and not session.runner.status.curves


def test_what_is_true_only_now_goes_to_other_processes_and_back() -> None:
    curve = ev.MetricLogged(step=1, name="loss", steps=(1.0, None), values=(0.5, None))
    status = LiveStatus(curves=(curve,), resources=Resources(cpus=1.5, gpus=(Gpu(0, 0.5, 1, 2),)), time_limit=60.0)
    assert msgspec.json.decode(msgspec.json.encode(status), type=LiveStatus) == status


def test_a_log_of_anybodys_costs_no_more_than_ours() -> None:
    steps = tuple(map(float, range(300_000)))
    hostile = ev.MetricLogged(step=1, name="\x1b[2Jloss", steps=steps, values=(*steps, None, 1e308))
    state = fold([ev.SessionStarted(format=1, task="t"), ev.ActionProposed(step=1, author="m", action="x"), hostile])
    assert parsed("rising>=100").matches(fields_of(state, state.steps[1]))
    assert all("\x1b" not in str(line) for line in drawn(of_step([hostile]), 80, 20))
