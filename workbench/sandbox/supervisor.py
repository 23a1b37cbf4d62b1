"""Looks after a command that is not over at once: time limit, interrupt, and shells that no longer answer.

Nothing here trusts the shell. A command is over when its end mark came, or when a probe that was typed after it is
answered; a shell that answers nothing is signalled, harder each time, and at last hung up.
"""

from __future__ import annotations

import asyncio
import contextlib

from workbench.isolation.spec import SandboxError
from workbench.sandbox.action import RunningAction
from workbench.sandbox.bash import LADDER, first_of
from workbench.sandbox.pty import SignalName

_PROMPT_LADDER: tuple[SignalName | None, ...] = (None, "TERM", "KILL")
"""For what holds up a prompt; INT is typed each time."""

_FIRST_LOOK, _LAST_LOOK = 0.7, 20.0
"""Seconds of silence after which the shell's process is looked at, at first and at most."""
_SAMPLE = 1.0
"""Seconds of silence after which, and between which, it is looked for a program that waits for input."""
_PATIENCE = {"read": 3.0, "poll": 6.0}
"""Seconds that a program may wait where nobody is to type."""
PATIENCE_WITH_PERSON = 15.0
"""The same where a person who looks on is told, and may take over."""
_FRUITLESS_PROBES = 3
_ANSWER = 1.0
"""Seconds in which a shell that stands at its prompt answers a probe."""


class Supervisor:
    """Watches one action until it is over."""

    def __init__(self, action: RunningAction, ladder_interval: float) -> None:
        self._action = action
        self._bash = action.bash
        self._interval = ladder_interval
        self._loop = asyncio.get_running_loop()
        self._look_after = _FIRST_LOOK
        self._sampled = 0.0
        self._fruitless = 0

    async def watch(self) -> None:
        """Return when the action is over, whatever it takes."""
        action = self._action
        while not action.over:
            action.changed.clear()  # before looking: what changes while we look wakes the wait below
            now = self._loop.time()
            # In order of urgency: a line that bash never read, an end that is wanted, a prompt that came without the
            # end mark. Only a silent command is looked into, which costs a process of the guest's each time.
            if not action.started.is_set():
                await self._bring_to_start()
            elif action.interrupt_asked or now >= action.deadline:
                await self._stop()
            elif action.prompt_seen:
                action.prompt_seen = False
                await self._recover()
            elif now >= (sample := max(action.last_output, self._sampled) + _SAMPLE):
                await self._look_for_reader()
                self._sampled = self._loop.time()
            elif now - action.last_output >= self._look_after:
                await self._look()
                self._look_after = min(self._look_after * 2, _LAST_LOOK)
            else:
                await self._wait(min(action.deadline, action.last_output + self._look_after, sample) - now)

    async def _wait(self, seconds: float) -> None:
        """Until the action is over, something changed, or the time has passed."""
        await first_of(max(seconds, 0.001), self._action.done, self._action.changed)

    async def _look_for_reader(self) -> None:
        """Notice a program that waits for somebody to type, and end it when nobody is there to do so.

        It has to be the same one, and nothing in the foreground may print or use a processor, as long as its patience.
        """
        action = self._action
        asked = self._loop.time()  # output that comes while the guest answers must not count as silence
        found = await self._bash.waiting()
        # `found` has the processor time of the foreground in it: a program that works is another one each time.
        if action.over or found is None or found != action.waiting or action.last_output > action.waiting_since:
            action.waiting, action.waiting_since = found, asked
            action.onlooker.waiting_changed()
            return
        presence = action.onlooker.presence
        patience = PATIENCE_WITH_PERSON if presence == "watching" else _PATIENCE[found.how]
        if asked - action.waiting_since >= patience and presence != "attending":
            action.waited_for = found.program or "a program"
            await self._end()

    async def _look(self) -> None:
        if await self._bash.waiting() is not None:
            return  # whoever reads the terminal would read the question
        # Where the kernel does not say what bash waits for, it may be at its prompt or in `wait`. So it is asked only a
        # few times; after that, the end mark or the time limit decides.
        if self._fruitless < _FRUITLESS_PROBES and await self._bash.stands_at_prompt() and not self._action.over:
            await self._bash.unblock()  # a bash that cannot print sleeps too
            await self._recover()

    async def _recover(self) -> None:
        """The shell seems to be at its prompt, the end mark lost: ask it how the command ended."""
        action = self._action
        if await self._bash.probe(_ANSWER) and not action.over:
            action.finish(self._bash.last_status)
        elif not action.over:
            action.put_back()  # it was the command that printed something like a prompt
            self._fruitless += 1
            await self._bash.unblock()

    async def _stop(self) -> None:
        """End the command for the person's wish or its time limit."""
        if self._action.interrupt_asked:
            self._action.interrupted = True
        else:
            self._action.timed_out = True
        await self._end()

    async def _end(self) -> None:
        """INT, then TERM, then KILL; then the terminal is hung up."""
        action = self._action
        for name in LADDER:
            action.signal = name
            if await self._signal_and_wait(name):
                return
        await self._bash.hang_up("it did not answer, and no signal ended what ran in it")
        await asyncio.wait({action.done}, timeout=5.0)

    async def _signal_and_wait(self, name: SignalName) -> bool:
        action, terminal = self._action, self._bash.terminal
        if terminal is not None:
            try:
                await terminal.signal(name)
            except SandboxError:
                return action.over
        until = self._loop.time() + self._interval
        # Looking takes a process, so a program that is slow to end is looked at less and less often.
        pause, again = 0.03, self._loop.time() + min(0.2, self._interval / 4)
        while not action.over and (left := until - self._loop.time()) > 0:
            action.changed.clear()
            if not action.prompt_seen:
                await self._wait(min(left, pause))
            if action.over:
                break
            if action.prompt_seen or await self._bash.stands_at_prompt():
                action.prompt_seen = False
                await self._recover()
            elif self._loop.time() >= again and terminal is not None:
                # The first INT may have come between two programs; and where TERM or KILL ended one, bash goes on
                # with the next unless it is interrupted too.
                again = until
                with contextlib.suppress(SandboxError):
                    await terminal.signal("INT")
            pause *= 2
        return action.over

    async def _bring_to_start(self) -> None:
        """The start mark did not come: find out whether the line was read, mend the shell, type it again."""
        action, bash = self._action, self._bash
        # Who interrupts at once comes before the mark: a question typed by then would change the status that it is for.
        await first_of(max(action.began + _FIRST_LOOK - self._loop.time(), 0), action.done, action.started)
        if self._over_or_started():
            return
        # Bash reads its input in order. So one that answers the probe has read the action's line, and dropped it; while
        # one that does not is held up before its prompt, by a hook or a stopped job, and the line still waits.
        answered = await bash.probe(_ANSWER, action.started)
        for name in _PROMPT_LADDER:
            if self._over_or_started():
                return
            if not answered:
                await bash.stands_at_prompt()  # wakes a stopped shell
                await bash.unblock()
                answered = await self._free_prompt(name)
            if self._over_or_started():
                return
            if answered:
                action.type()
                await self._wait(_ANSWER)
                answered = await bash.probe(_ANSWER, action.started) if not self._over_or_started() else True
        if self._over_or_started():
            return
        await bash.hang_up("it no longer took commands")
        await asyncio.wait({action.done}, timeout=5.0)

    async def _free_prompt(self, name: SignalName | None) -> bool:
        """Take hooks away that hold up the prompt; what runs in them gets the signal, after the lines were typed."""
        action, bash = self._action, self._bash
        if name is None:
            return await bash.probe(_ANSWER, action.started, free_prompt=True)
        if await bash.probe(0.2, action.started, free_prompt=True) or self._over_or_started():
            return True
        if bash.terminal is not None:
            with contextlib.suppress(SandboxError):
                await bash.terminal.signal(name)
        return await bash.probe(_ANSWER, action.started)

    def _over_or_started(self) -> bool:
        return self._action.started.is_set() or self._action.over
