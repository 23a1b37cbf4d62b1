"""What the way of the data matters to, once more over the engine's attached stream (as with engines in VMs)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.sandbox.test_suite import (  # noqa: F401 (run here with the fixture below)
    sandbox,
    test_a_background_job_does_not_hold_up_the_exit,
    test_close_kills_the_session,
    test_exec_gives_output_status_and_takes_input,
    test_exec_several_at_once,
    test_interrupt_of_a_loop_and_of_a_substitution_spares_the_shell,
    test_much_input_is_queued,
    test_output_flows_without_loss_and_stops_when_paused,
    test_requests_come_through_the_socket,
    test_reset_modes_and_echo,
    test_resize_reaches_the_shell,
    test_signals_reach_the_foreground,
    test_the_exit_status_comes_after_the_last_output,
    test_the_exit_status_of_a_shell_is_told,
)
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.docker import DockerSandbox

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DockerSandbox]:
    """A started container that was not offered the shorter way."""
    spec = SandboxSpec(session="test-relayed", env={"WINDOW": "100"})
    made = DockerSandbox(spec, tmp_path_factory.mktemp("suite"), direct=False)
    await made.start()
    assert made.describe()["direct"] is False
    yield made
    await made.stop()
