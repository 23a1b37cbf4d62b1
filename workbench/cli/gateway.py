"""gateway: the model of an agent that somebody starts elsewhere."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

import click

from workbench.cli.driving import drive, without_screen
from workbench.cli.errors import Command, Failure
from workbench.cli.options import Amount, headless_options, sessions_option


@click.command(cls=Command)
@click.option(
    "--upstream", required=True, metavar="MODEL",
    help="Who answers: openai:NAME, anthropic:NAME, gemini:NAME, human, scripted[:FILE], replay:SESSION[@N][,MODEL].",
)  # fmt: skip
@click.option("--base-url", default="", metavar="URL", help="Another server that speaks the model's protocol.")
@click.option("--upstream-model", default="", metavar="NAME", help="Model in place of the one that requests name.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Port of this machine; 0: a free one."
)
@click.option("--step", "step_mode", is_flag=True, help="Begin in step mode: each answer waits for you.")
@click.option("--max-steps", type=click.IntRange(min=1), metavar="N", help="Limit on calls.")
@click.option("--max-cost", type=Amount(), metavar="USD", help="Limit on cost.")
@click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Limit on tokens without a price.")
@headless_options
@sessions_option
def gateway(
    upstream: str, port: int, step_mode: bool, headless: bool, as_json: bool, upstream_model: str, **options: Any
) -> None:
    """Be the model of an agent that was started elsewhere.

    Its calls are passed on to MODEL, and each answer is a step of a session: held, edited, rejected, saved. The agent
    needs no change: it is given an address and a key by the variables that are printed. ctrl+c ends it.

    Examples:
      mlgym-tui gateway --upstream openai:gpt-5.4 --step
      mlgym-tui gateway --upstream anthropic:claude-sonnet-4-5 --port 4100 --json
      mlgym-tui gateway --upstream openai:x --base-url http://localhost:8080/v1
      mlgym-tui gateway --upstream replay:last
    """
    from workbench.gateway.standalone import StandaloneAgent, start_standalone
    from workbench.gateway.upstream import make_upstream
    from workbench.session.spec import spec_of

    plain = without_screen(headless, as_json, step_mode)
    root = options["sessions_folder"]
    base_url = options["base_url"]
    agent = StandaloneAgent(make_upstream(upstream, base_url=base_url, model=upstream_model, sessions=root))
    try:
        address = agent.listen(port)
    except OSError as error:
        raise Failure(
            f"port {port} cannot be listened on: {error.strerror or error}", "choose another, or --port 0"
        ) from None
    variables = agent.gateway.environment(address)
    if as_json:
        click.echo(json.dumps({"address": address, "key": agent.gateway.key, "environment": variables}))
    else:
        click.echo(f"listens at {address}; the agent finds it by:")
        for name, value in variables.items():
            click.echo(f"  export {name}={shlex.quote(value)}")
    sys.stdout.flush()
    if not plain:
        click.pause("press a key to open the workbench")
    mode = "step" if step_mode else "auto"
    spec = spec_of(options, task="gateway", model=agent.model, mode=mode, interactive=not plain)
    sys.exit(drive(start_standalone(spec, root, agent), plain, as_json))
