"""config: what holds unless an option says otherwise, and where that is said."""

from __future__ import annotations

import os
from typing import Any

import click

from workbench.cli.errors import Failure, Group
from workbench.cli.options import json_option
from workbench.cli.output import print_json, print_table


@click.group(cls=Group, invoke_without_command=True)
@json_option
@click.pass_context
def config(context: click.Context, as_json: bool) -> None:
    """Show what holds unless an option says otherwise.

    It is said in config.yaml (`config path` says where that is): a name and a value on each line, as shown here. A
    variable (MLGYM_MODEL for model, and so on; TEXTUAL_THEME) goes before the file, and an option before both. agent,
    base_url and temperature go with the model of the file: `--model` leaves them out. Keys of providers do not belong
    there, but into the environment or a .env beside it.

    \b
    model: openai:gpt-5.4      # also agent, base_url, temperature
    sandbox: docker            # also image, window
    max_steps: 50              # also max_time (90m), max_cost, max_tokens
    approve: always            # or a file of rules; also delay (seconds)
    sessions: ~/sessions
    theme: mlgym-light         # `config themes` lists them
    notify: bell               # or desktop: when a run stops or waits
    printed_metrics: ['dice (?P<dice>[0-9.]+)']   # what is a metric, too
    keys:
      session.run: enter x     # `config keys` lists the ids

    Examples:
      mlgym-tui config
      mlgym-tui config init    write a file to begin with
      mlgym-tui config keys
    """
    if context.invoked_subcommand is None:
        _show(as_json)


def _show(as_json: bool) -> None:
    from msgspec.structs import asdict

    from workbench.config import VARIABLES, Settings, config_file, from_environment, from_file
    from workbench.session.spec import STEPS, WINDOW
    from workbench.session.store import sessions_root
    from workbench.tui.look import check, default_theme

    in_file = from_file(check)
    effective = asdict(from_environment(in_file))
    unsaid = {**asdict(Settings()), "model": "scripted:demo", "sandbox": "local", "theme": default_theme()}
    unsaid |= {"sessions": str(sessions_root()), "max_steps": STEPS, "window": WINDOW}
    rows: list[dict[str, Any]] = []
    for name, value in effective.items():
        if os.environ.get(VARIABLES.get(name, "")):
            source = f"${VARIABLES[name]}"
        else:
            source = "file" if value != getattr(Settings(), name) else "default"
        rows.append({"name": name, "value": unsaid[name] if source == "default" else value, "source": source})
    if as_json:
        print_json({"file": config_file(), "exists": config_file().is_file(), "settings": rows})
        return
    there = "" if config_file().is_file() else " (there is none)"
    click.echo(f"{config_file()}{there}\n")
    shown = [[row["name"], _text(row["value"]), row["source"]] for row in rows if row["name"] != "keys"]
    print_table(("setting", "value", "from"), shown, cut=[1])
    if in_file.keys:
        click.echo()
        print_table(("action", "keys"), list(in_file.keys.items()))


def _text(value: Any) -> str:
    return "–" if value in (None, []) else str(value)


@config.command()
@json_option
def path(as_json: bool) -> None:
    """Say where the file is, or would be.

    Example:
      mlgym-tui config path
    """
    from workbench.config import config_file

    print_json({"file": config_file()}) if as_json else click.echo(str(config_file()))


@config.command()
@json_option
def keys(as_json: bool) -> None:
    """List the actions by their ids, with the keys that they have.

    \b
    keys:
      session.run: x           # in place of enter
      step.next: l right       # several
      session.fork: none       # no key; the palette still has it

    A key is written as a letter or sign, or as enter, tab, space, escape, up, f5, ctrl+x, shift+left, and so on.

    Examples:
      mlgym-tui config keys
      mlgym-tui config keys --json
    """
    from workbench.tui.actions import ACTIONS
    from workbench.tui.look import use

    use()
    if as_json:
        print_json([{"id": a.id, "keys": a.keys_now, "does": a.description, "where": a.group} for a in ACTIONS])
        return
    print_table(("id", "keys", "does"), [[a.id, a.shown_keys or "–", a.description] for a in ACTIONS], cut=[2])


@config.command()
@json_option
def themes(as_json: bool) -> None:
    """List the themes: ours first, then those that come with Textual.

    Example:
      mlgym-tui config themes
    """
    from workbench.tui.look import theme_names

    names = theme_names()
    print_json(names) if as_json else click.echo("\n".join(names))


_BEGINNING = """\
# What holds unless an option says otherwise. `mlgym-tui config --help` says more, `mlgym-tui config` what holds.
# Keys of providers do not belong here: put them into the environment or a .env file beside this one.

# model: openai:gpt-5.4
# sandbox: docker
# max_steps: 50
# sessions: ~/sessions
# theme: mlgym-light
# notify: bell
# keys:
#   session.run: enter x
"""


@config.command()
@json_option
def init(as_json: bool) -> None:
    """Write a file to begin with, where there is none.

    All of it are comments, so that nothing changes yet.

    Example:
      mlgym-tui config init
    """
    from workbench.config import config_file

    file = config_file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(_BEGINNING)
    except FileExistsError:
        raise Failure(f"{file} is there already", "edit it") from None
    print_json({"file": file}) if as_json else click.echo(f"wrote {file}")
