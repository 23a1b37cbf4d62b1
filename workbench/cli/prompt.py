"""prompt: what a model was sent for a step of a saved session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Command, Failure
from workbench.cli.options import read_session, session_argument
from workbench.cli.output import picked, print_json, print_table
from workbench.text import visible

if TYPE_CHECKING:
    from workbench.session.prompt_view import PromptOfStep, Read
    from workbench.session.prompts import SentMessage, SentPrompt


@click.command(cls=Command)
@click.option("--step", type=click.IntRange(min=0), metavar="N", help="For this step (else the newest with a prompt).")
@click.option(
    "--call",
    type=click.IntRange(min=1),
    metavar="K",
    help="The K-th call for that step, where there were several (else the one that made the proposal).",
)
@click.option("--diff", is_flag=True, help="What is new since the last prompt of an earlier step.")
@click.option("--json", "as_json", is_flag=True, help="As JSON: the messages as they were sent.")
@session_argument
def prompt(session: Path, step: int | None, call: int | None, diff: bool, as_json: bool) -> None:
    """Show what the model of SESSION was sent for a step.

    SESSION is a folder, an id, or `last`. Tokens of single messages are estimates; what the provider counted is said
    beside them.

    Examples:
      mlgym-tui prompt last                   the newest prompt, with its texts
      mlgym-tui prompt last --step 7 --diff   what is new since the step before
      mlgym-tui prompt 3fa9c1 --step 7 --json | jq '.messages[] | {role, content}'
    """
    from workbench.session.prompt_view import last_step_asked, prompt_of_step

    recording, state = read_session(session)
    read = recording.object
    if step is None:
        step = last_step_asked(state)
    elif step > max(state.last_step, last_step_asked(state)):
        raise Failure(f"there is no step {step}: the last one is {state.last_step}", "name an earlier one with --step")
    found = prompt_of_step(state, read, step, None if call is None else call - 1)
    if call is not None and found.calls and call > len(found.calls):
        raise Failure(f"step {step} had {len(found.calls)} calls, and no call {call}", "name one of them with --call")
    if as_json:
        print_json(_as_dict(found, read, diff=diff))
    elif found.prompt is None:
        click.echo(visible(found.nothing))
    elif diff:
        _print_diff(found, read)
    else:
        _print_prompt(found, found.prompt, read)


def _print_head(found: PromptOfStep, sent: SentPrompt) -> None:
    from workbench.session.prompt_view import summary

    calls = f", call {found.place + 1} of {len(found.calls)}" if len(found.calls) > 1 else ""
    click.echo(f"step {found.step}{calls}")
    for line in summary(sent):
        click.echo(visible(line))
    click.echo()


def _print_prompt(found: PromptOfStep, sent: SentPrompt, read: Read) -> None:
    from workbench.session.prompt_view import message_text, numbered

    _print_head(found, sent)
    parts = numbered(sent)
    print_table(
        ["", "role", "step", "tokens", "shortened"],
        [
            [str(place or ""), part.role or "?", _number(part.step), _number(part.tokens), part.elided]
            for place, part in parts
        ],
        right=(0, 2, 3),
    )
    for place, part in parts:
        click.echo(f"\n── {f'{place} ' if place else ''}{visible(part.role or 'role unknown')} ──")
        click.echo(visible(message_text(read(part.hash))))


def _print_diff(found: PromptOfStep, read: Read) -> None:
    from workbench.session.prompt_view import change_lines, comparison, message_text

    assert found.prompt is not None
    _print_head(found, found.prompt)
    changes = found.changes
    click.echo(comparison(changes, found.previous))

    def text_of(message: SentMessage) -> str:
        return message_text(read(message.hash))

    for change in changes:
        if change.kind == "same":
            continue
        message = change.message
        step = "" if message.step is None else f", step {message.step}"
        why = f": {message.elided}" if change.kind == "elided" else ""
        kind = "shortened" if change.kind == "elided" else change.kind
        click.echo(visible(f"\n── {kind}: {message.role or 'role unknown'}{step}{why} ──"))
        for line in change_lines(change, text_of):
            click.echo(f"{line.mark} {visible(line.text)}".rstrip())


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _as_dict(found: PromptOfStep, read: Read, *, diff: bool) -> dict[str, Any]:
    import msgspec

    from workbench.session.prompt_view import json_value

    if found.prompt is None:
        return {"step": found.step, "calls": 0, "messages": [], "nothing": found.nothing}
    sent, call = found.prompt, found.prompt.call
    value: dict[str, Any] = {
        "step": found.step,
        "call": found.place + 1,
        "calls": len(found.calls),
        **picked(call.sent, "attempt alternative model settings budget"),
        "tokens": sent.tokens,
        "tokens_counted_by": call.sent.counted_by or None,
        "usage": msgspec.to_builtins(call.usage),
        "failure": call.trouble or None,
        "problem": sent.problem or None,
        "tools": json_value(read(call.sent.tools)) if call.sent.tools else None,
        "messages": [_message_as_dict(message, read) for message in sent.messages],
    }
    if diff:
        value["against_step"] = found.previous.call.step if found.previous is not None else None
        value["changes"] = [
            {
                "kind": change.kind,
                "old": change.old.hash if change.old is not None else None,
                "new": change.new.hash if change.new is not None else None,
            }
            for change in found.changes
        ]
    return value


def _message_as_dict(message: SentMessage, read: Read) -> dict[str, Any]:
    """The message as it was sent, and what is known of it beside that."""
    from workbench.session.prompt_view import message_value

    value = message_value(read(message.hash))
    return {
        **(value if value is not None else {"role": message.role, "content": None}),
        "hash": message.hash,
        "tokens": message.tokens,
        "elided": message.elided or None,
        "step": message.step,
    }
