"""compare: runs side by side."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Command, Failure
from workbench.cli.options import json_option, read_session, session_argument
from workbench.cli.output import print_json, standing
from workbench.text import many, visible

if TYPE_CHECKING:
    from workbench.analysis.aligning import Divergence, Row
    from workbench.session.state import SessionState

_MOST = 9
"""Runs that are compared at once."""


@click.command(cls=Command)
@click.option("--text", "as_text", is_flag=True, help="As plain text, also at a terminal.")
@json_option
@session_argument(many=True)
def compare(session: list[Path], as_text: bool, as_json: bool) -> None:
    """Align the steps of SESSIONs, and say where they part.

    At a terminal they stand side by side on a screen of their own; else, or with --text, as plain text. A SESSION is a
    folder, an id, `last`, or any file that `replay` opens. The others are aligned to the first.
    = marks the same action, ~ the same command on the same thing, > the step where they part.

    Examples:
      mlgym-tui compare 3fa9c1 last
      mlgym-tui compare run_0/blotto.traj run_1/blotto.traj
      mlgym-tui compare 3fa9c1 last --json | jq .first_divergence
    """
    from workbench.analysis.aligning import align, first_divergence

    if not 2 <= len(session) <= _MOST:
        raise Failure(
            f"2 to {_MOST} sessions can be compared, and not {len(session)}", f"name two, or up to {_MOST}", 2
        )
    if not (as_text or as_json) and sys.stdin.isatty() and sys.stdout.isatty():
        from workbench.tui.screens.compare import CompareApp

        CompareApp(session).run()
        return
    read = [read_session(path) for path in session]
    states, names = [state for _, state in read], [recording.reference for recording, _ in read]
    rows = align(states)
    parting = first_divergence(states, rows)
    if as_json:
        print_json(_as_dict(names, states, rows, parting))
        return
    width = max(60, shutil.get_terminal_size((100, 24)).columns)
    for line in _text(names, states, rows, parting, width):
        click.echo(visible(line))


def _as_dict(
    names: Sequence[str], states: Sequence[SessionState], rows: Sequence[Row], parting: Divergence | None
) -> dict[str, Any]:
    from workbench.analysis.aligning import course
    from workbench.session.run import run_of

    return {
        "sessions": [run_of(state, name) for state, name in zip(states, names, strict=True)],
        "aligned": [row.steps for row in rows],
        "sameness": [row.sameness or None for row in rows],
        "first_divergence": None if parting is None else parting._asdict(),
        "courses": [course(state)._asdict() for state in states],
    }


def _text(
    names: Sequence[str], states: Sequence[SessionState], rows: Sequence[Row], parting: Divergence | None, width: int
) -> list[str]:
    from workbench.analysis.aligning import LETTERS, plots
    from workbench.session.outcome import verdict

    lines: list[str] = []
    for letter, name, state in zip(LETTERS, names, states, strict=False):
        started, found = state.started, verdict(state)
        name = name if len(name) <= width - 3 else f"…{name[4 - width :]}"
        who = f"{started.task}, {started.model or started.agent}" if started else ""
        who = who if len(who) <= width // 2 else f"{who[: width // 2]}…"
        ended = f"{found.exit_status or 'not ended'} after {many(state.last_step, 'step')}"
        lines += [f"{letter}  {name}", f"   {who}: {ended}"]
        lines.append(f"   {standing(state.final_scores())}")
    lines.append("")
    column = (width - 2) // len(states)
    for place, row in enumerate(rows):
        if parting is not None and place == parting.row:
            lines.append(f"> {parting.text} ".ljust(width, "─"))
        cells = [_cell(state, number, column - 1) for state, number in zip(states, row.steps, strict=True)]
        lines.append(f"{ {'same': '=', 'alike': '~', '': ' '}[row.sameness] } {' '.join(cells)}".rstrip())
    lines += ["the runs are the same to their ends"] if parting is None else []
    lines.append("")
    return [*lines, *plots(states, width)]


def _cell(state: SessionState, number: int | None, width: int) -> str:
    """A step as one line of a column."""
    from rich.cells import cell_len, set_cell_size

    if number is None:
        return " " * width
    step = state.steps[number]
    score = f" [{step.score:.4g}]" if step.score is not None else ""
    first, _, rest = visible(step.action.strip()).partition("\n")
    text = f"{number:>3} {first}{' ⏎ …' if rest else ''}"
    room = width - len(score)
    cut = text if cell_len(text) <= room else f"{set_cell_size(text, room - 1)}…"
    return set_cell_size(f"{cut}{score}", width)
