"""agents: who can be let loose on a task."""

from __future__ import annotations

import click

from workbench.cli.errors import Group
from workbench.cli.options import json_option
from workbench.cli.output import print_json, print_table


@click.group(cls=Group, invoke_without_command=True)
@json_option
@click.pass_context
def agents(context: click.Context, as_json: bool) -> None:
    """List the agents that ship.

    `--agent` also takes the path of a YAML file, or module:Class.

    Examples:
      mlgym-tui agents
      mlgym-tui agents show default
      mlgym-tui agents show ./my-agent.yaml --json
    """
    if context.invoked_subcommand is not None:
        return
    from workbench.agents.catalogue import list_agents

    found = list_agents()
    if as_json:
        print_json(found)
        return
    print_table(
        ["agent", "parser", "window", "what it is"],
        [[agent.name, agent.parser, str(agent.window), agent.description] for agent in found],
        right=(2,),
    )


@agents.command()
@click.argument("agent")
@json_option
def show(agent: str, as_json: bool) -> None:
    """Print the configuration of AGENT: a name, or a YAML file.

    Examples:
      mlgym-tui agents show default
      mlgym-tui agents show default > my-agent.yaml   to begin one of your own
      mlgym-tui agents show ./my-agent.yaml --json
    """
    from workbench.agents.catalogue import find_agent
    from workbench.agents.config import AgentConfig

    found = find_agent(agent)
    if not isinstance(found, AgentConfig):
        click.echo(f"{agent} is a class; what it does stands in its code")
        return
    if as_json:
        print_json(found)
        return
    from msgspec import to_builtins

    from workbench.yamlfile import readable_yaml

    click.echo(readable_yaml(to_builtins(found)).rstrip())
