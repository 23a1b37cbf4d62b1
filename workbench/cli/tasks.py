"""tasks, evaluate: what can be worked on, and scoring a submission without a session."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Command, Group
from workbench.cli.options import (
    data_options,
    json_option,
    room_option,
    sandbox_option,
    several,
    task_argument,
    tiny_option,
)
from workbench.cli.output import ProgressLine, picked, print_json, print_table, progress_line
from workbench.text import many, visible

if TYPE_CHECKING:
    from workbench.checks.task_check import Finding
    from workbench.session.spec import SandboxName
    from workbench.tasks.catalogue import Task
    from workbench.tasks.datasets import Prepared
    from workbench.tasks.errors import TaskError
    from workbench.tasks.needs import Needs
    from workbench.tasks.scaffold import Kind


def prepare_data(task: Task, progress: ProgressLine) -> dict[str, Prepared]:
    """Prepare the task's data; it can be stopped, and says then what is kept. Raises TaskError or OSError."""
    from workbench.signals import stoppable
    from workbench.tasks.datasets import datasets_of, needs_network, prepare_task
    from workbench.tasks.errors import TaskError

    def kept() -> str:
        with suppress(TaskError, OSError):
            if any(needs_network(dataset, task.variant) for dataset in datasets_of(task)):
                return "what was fetched is kept, and the same command goes on with it"
        return "nothing of what was being prepared is left, and the same command begins it anew"

    with stoppable(kept):
        return prepare_task(task, progress)


def prepare_first(task: Task, progress: ProgressLine) -> None:
    """Prepare the task's data now, where it can be stopped; what is in the way is said by whoever needs them."""
    from workbench.tasks.errors import TaskError

    with suppress(TaskError, OSError):
        prepare_data(task, progress)


@click.group(cls=Group, invoke_without_command=True)
@click.option("--wide", is_flag=True, help="All that is known of each, however wide: what it needs, what is missing.")
@json_option
@click.pass_context
def tasks(context: click.Context, wide: bool, as_json: bool) -> None:
    """List the tasks: those that ship, and your own.

    Your own are looked for in the folders of $MLGYM_TASKS.

    Examples:
      mlgym-tui tasks
      mlgym-tui tasks --wide
      mlgym-tui tasks --json
      mlgym-tui tasks show regressionKaggleHousePrice
      mlgym-tui tasks new myTask
      mlgym-tui tasks check ./myTask
      MLGYM_TASKS=~/my-tasks mlgym-tui tasks
    """
    if context.invoked_subcommand is not None:
        return
    from workbench.tasks.catalogue import list_tasks
    from workbench.tasks.needs import examine

    problems: list[TaskError] = []
    found = [(task, examine(task)) for task in list_tasks(problems=problems)]
    if as_json:
        print_json([_as_dict(task, needs) for task, needs in found])
    elif not wide:
        rows = [
            [task.id, f"{metric.name} {_ARROWS[metric.direction][0]}", _number(metric.baseline), needs.verdict]
            for task, needs in found
            for metric in [task.primary_metric]
        ]
        print_table(["task", "metric", "baseline", "runs here"], rows, right=(2,), cut=(0, 1))
        click.echo("▲ higher is better, ▼ lower; what a task needs: `mlgym-tui tasks show TASK`, or --wide", err=True)
    else:
        heads = ["task", "domain", "metric", "baseline", "submission", "needs", "runs here", "name"]
        print_table(heads, [_wide_row(task, needs) for task, needs in found], right=(3,))
        for task, needs in found:
            for obstacle in needs.obstacles:
                click.echo(f"{task.id}: {visible(obstacle)}", err=True)
    if not as_json:
        optional = _optional([needs for _, needs in found])
        for modules, command in optional:
            if " --with " not in command:
                click.echo(f"optional, not installed: {modules}\n  {command}", err=True)
        if on_request := [modules for modules, command in optional if " --with " in command]:
            click.echo(f"on request: {', '.join(on_request)} (`mlgym-tui tasks show TASK` says how)", err=True)
    for problem in problems:
        click.echo(f"left out: {visible(str(problem))}", err=True)


_ARROWS = {"maximize": "▲ higher is better", "minimize": "▼ lower is better"}


def _wide_row(task: Task, needs: Needs) -> list[str]:
    metric, spec = task.primary_metric, task.spec
    return [
        task.id, spec.domain, f"{metric.name} {_ARROWS[metric.direction]}", _number(metric.baseline),
        task.artifact.path, ", ".join(needs.words) or "–", needs.verdict, spec.name,
    ]  # fmt: skip


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}" if abs(value) < 1000 else f"{value:.2f}"


def _as_dict(task: Task, needs: Needs) -> dict[str, Any]:
    return {
        "id": task.id,
        "name": task.spec.name,
        "domain": task.spec.domain,
        "metric": task.primary_metric.name,
        "direction": task.primary_metric.direction,
        "baseline": task.primary_metric.baseline,
        "artifact": task.artifact.path,
        "folder": str(task.folder),
        "needs": list(needs.words),
        "runs_here": needs.verdict,
        "obstacles": list(needs.obstacles),
        "optional": dict(needs.optional),
    }


def _optional(found: list[Needs]) -> list[tuple[str, str]]:
    """Optional modules that are not installed, and one command that installs them for all tasks that have them."""
    commands: dict[str, dict[str, None]] = {}
    said: dict[str, str] = {}
    for needs in found:
        for module, command in needs.optional.items():
            commands.setdefault(said.setdefault(module, command), {})[module] = None
    return [(", ".join(modules), command) for command, modules in commands.items()]


@tasks.command()
@task_argument
@json_option
def show(task: str, as_json: bool) -> None:
    """Print what TASK is, and whether it can run here.

    That is: what the agent is told, its metrics, limits and data.

    Examples:
      mlgym-tui tasks show blotto
      mlgym-tui tasks show ./my-task --json
    """
    from msgspec.structs import asdict

    from workbench.environment.resources import sandbox_limits
    from workbench.tasks.catalogue import find_task
    from workbench.tasks.needs import examine, gigabytes

    found = find_task(task)
    needs = examine(found)
    if as_json:
        print_json({**_as_dict(found, needs), "description": found.description(), **asdict(found.spec)})
        return
    spec = found.spec
    click.echo(f"{found.id}: {found.spec.name} ({spec.domain}, {spec.level})\n{found.folder}\n")
    click.echo(found.description().rstrip() + "\n")
    for metric in spec.metrics:
        marks = (["counts"] if metric.primary else []) + [
            f"counts under --protocol {name}" for name in metric.primary_in
        ]
        stand_in = spec.baseline.stand_in.get(metric.key)
        click.echo(
            f"metric {metric.key} {_ARROWS[metric.direction]}, baseline {_number(spec.baseline.scores.get(metric.key))}"
            + (f" ({_number(stand_in)} on the stand-in)" if stand_in is not None else "")
            + (f"; {', '.join(marks)}" if marks else "")
        )
    limits = spec.limits
    click.echo(f"submission: {spec.artifact.kind} {spec.artifact.path}, at most {spec.artifact.max_bytes:,} bytes")
    click.echo(
        f"limits: {limits.command_seconds:g} s a command, {limits.training_seconds:g} s a training command, "
        f"{limits.evaluation_seconds:g} s an evaluation"
    )
    has = sandbox_limits(found)
    click.echo(
        f"the agent's sandbox: {'no limit' if has.memory_bytes is None else gigabytes(has.memory_bytes)} "
        f"of memory, {'all CPUs' if has.cpus is None else many(has.cpus, 'CPU')}, {spec.resources.gpus or 'no'} "
        f"GPU{'s' * (spec.resources.gpus > 1)}"
    )
    click.echo(f"scored by: validate → {found.split_for('validate')} data, submit → {found.split_for('submit')} data")
    click.echo(f"needs: {', '.join(needs.words) or 'nothing'}")
    if found.requirements:
        optional = "optional; " if spec.requirements_optional else ""
        click.echo(f"Python packages: {', '.join(found.requirements)} ({optional}`tasks prepare` installs them)")
    for name, packages in spec.extras.items():
        wanted = ", ".join(item for item in packages if not item.startswith("-"))
        click.echo(f"  on request: {wanted} (`tasks prepare {found.id} --with {name}` installs them, too)")
    click.echo(f"runs here: {needs.verdict}")
    for modules, command in _optional([needs]):
        click.echo(f"  runs without {modules}; to install: {command}")
    for obstacle in needs.obstacles:
        click.echo(f"  {visible(obstacle)}")


@tasks.command()
@click.argument("ident", metavar="ID")
@click.option(
    "--kind",
    type=click.Choice(["code", "csv", "checkpoint"]),
    default="code",
    show_default=True,
    help="What is handed in: a function, a table of predictions, a trained model.",
)
@click.option(
    "--in", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Where (else here)."
)
@json_option
def new(ident: str, kind: Kind, folder: Path, as_json: bool) -> None:
    """Make the folder of a new task, ID.

    It is complete, runnable, and yours to change.

    Examples:
      mlgym-tui tasks new myTask
      mlgym-tui tasks new myTask --kind csv --in ~/my-tasks
    """
    from workbench.tasks.catalogue import regular_files
    from workbench.tasks.scaffold import scaffold

    made = scaffold(folder / ident, ident, kind)
    if as_json:
        print_json({"id": ident, "folder": str(made)})
        return
    click.echo(f"made {made}: a task that runs as it is, for you to change")
    for file in regular_files(made):
        click.echo(f"  {file.relative_to(made)}")
    from shlex import quote

    quoted = quote(str(made))
    click.echo(f"check it: mlgym-tui tasks check {quoted}\nrun it:   mlgym-tui run {quoted}")


several_tasks = several(
    click.argument("tasks", metavar="TASK...", nargs=-1),
    click.option("--all", "every", is_flag=True, help="All that `mlgym-tui tasks` lists."),
)


def named_tasks(names: tuple[str, ...], every: bool) -> list[Task]:
    """Those that were asked for, one at least."""
    from workbench.tasks.catalogue import find_task, list_tasks

    if every == bool(names):
        raise click.UsageError("name one TASK or several, or --all" if not every else "either TASK or --all, not both")
    if not every:
        return [find_task(name) for name in names]
    problems: list[TaskError] = []
    found = list_tasks(problems=problems)
    if problems:
        raise problems[0]
    return found


@tasks.command()
@several_tasks
@sandbox_option("For which.", "local")
@click.option("--image", metavar="NAME", help="Docker image, instead of the one `image build` makes.")
@tiny_option
@click.option("--with", "extras", metavar="NAME", multiple=True, help="Packages that the task has on request, too.")
@json_option
def prepare(
    tasks: tuple[str, ...],
    every: bool,
    sandbox: str,
    image: str | None,
    dataset: str | None,
    extras: tuple[str, ...],
    as_json: bool,
) -> None:
    """Have all that each TASK needs ready.

    That is: its data, its Python packages. Done once; can be stopped.

    Examples:
      mlgym-tui tasks prepare 3SATTime
      mlgym-tui tasks prepare regressionKaggleHousePrice --sandbox docker
      mlgym-tui tasks prepare blotto --with torch
      mlgym-tui tasks prepare --all --dataset tiny
    """
    found = named_tasks(tasks, every)
    for extra in extras:
        known = dict.fromkeys(name for task in found for name in task.spec.extras)
        if extra not in known:
            raise click.UsageError(f"--with {extra}: there is {', '.join(known) or 'nothing on request'}")
    done = [
        _prepare(task.under(variant=dataset if dataset and task.spec.datasets else ""), sandbox, image, extras, as_json)
        for task in found
    ]
    if as_json:
        print_json(done if len(found) > 1 else done[0])


def _prepare(found: Task, sandbox: str, image: str | None, extras: tuple[str, ...], as_json: bool) -> dict[str, Any]:
    from msgspec.structs import asdict

    from workbench.isolation.spec import DEFAULT_IMAGE
    from workbench.signals import stoppable
    from workbench.tasks.packages import install, installed_extras, installed_for, python_of, with_extras

    done: dict[str, Any] = {"task": found.id, "data": {}, "packages": None}

    def say(text: str) -> None:
        if not as_json:
            progress.clear()
            click.echo(text)

    with progress_line() as progress:
        for ident, prepared in prepare_data(found, progress).items():
            done["data"][ident] = {"folder": str(prepared.folder), "label": prepared.label}
            say(f"data {ident}{f' ({prepared.label})' if prepared.label else ''}: {prepared.folder}")
        before = installed_extras(found, installed_for(found, sandbox, image or DEFAULT_IMAGE))
        wanted = with_extras(found, {*before, *(name for name in extras if name in found.spec.extras)})
        if wanted:
            python = python_of(sandbox, image or DEFAULT_IMAGE)
            with stoppable(lambda: "nothing was installed, and the same command begins anew"):
                folder = install(wanted, python, progress)
            done["packages"] = {**asdict(python), "requirements": wanted, "folder": str(folder)}
            named = ", ".join(item for item in wanted if not item.startswith("-"))
            say(f"packages {named} for Python {python.version}: {folder}")
    return done


@tasks.command()
@several_tasks
@sandbox_option("Where.", "local")
@click.option("--dataset", type=click.Choice(["tiny"]), help="tiny: on the stand-in, though the real data are here.")
@json_option
def check(tasks: tuple[str, ...], every: bool, sandbox: SandboxName, dataset: str | None, as_json: bool) -> None:
    """Check that each TASK (id or folder) holds.

    That is: schema, files, data, metrics, baseline, bad and hostile submissions. Exits with 0 when nothing failed.

    Examples:
      mlgym-tui tasks check blotto
      mlgym-tui tasks check ./my-task --sandbox docker
      mlgym-tui tasks check --all --dataset tiny
    """
    found = named_tasks(tasks, every)
    findings = {}
    for task in found:
        findings[task.id] = _check(
            task.under(variant=dataset) if dataset and task.spec.datasets else task, sandbox, as_json
        )
    if as_json:
        print_json(findings if len(found) > 1 else findings[found[0].id])
    sys.exit(1 if any(finding.outcome == "failed" for some in findings.values() for finding in some) else 0)


def _check(found: Task, sandbox: SandboxName, as_json: bool) -> list[Finding]:
    from workbench.checks.task_check import check as findings_of
    from workbench.signals import run_stoppable
    from workbench.tasks.needs import examine

    shown: list[Finding] = []

    async def run() -> None:
        with progress_line() as progress:
            async for finding in findings_of(found, sandbox=sandbox, progress=progress):
                shown.append(finding)
                if not as_json:
                    progress.clear()
                    click.echo(f"{finding.outcome:<8} {finding.name}: {visible(finding.detail)}")

    with progress_line() as progress:  # on what the checks will take
        stand_in_only = not found.variant and examine(found).verdict == "stand-in only"
        prepare_first(found.under(variant="tiny") if stand_in_only else found, progress)
    run_stoppable(run())
    if not as_json:
        failed = sum(finding.outcome == "failed" for finding in shown)
        click.echo(f"{found.id}: " + (f"{failed} of {len(shown)} checks failed" if failed else "all holds"))
    return shown


@click.command(cls=Command)
@task_argument
@click.argument("artefact", type=click.Path(path_type=Path))
@click.option("--seed", type=int, metavar="N", help="Seed of the evaluation (else a random one, that is printed).")
@room_option("Where the submission runs: a sandbox of its own, or a process under limits (reduced isolation).", "auto")
@json_option
@click.option("--split", help="Of the data: test (else), or validation where the task has one.")
@data_options
def evaluate(
    task: str,
    artefact: Path,
    seed: int | None,
    room: str,
    as_json: bool,
    split: str | None,
    dataset: str | None,
    protocol: str | None,
) -> None:
    """Score ARTEFACT, a submission for TASK, in the clean room. Exits with 0 when the verdict is ok.

    Examples:
      mlgym-tui evaluate battleOfSexes strategy.py
      mlgym-tui evaluate blotto strategy.py --seed 7 --json
    """
    import secrets

    from workbench.scoring.evaluation import evaluate as score
    from workbench.signals import run_stoppable
    from workbench.tasks.catalogue import find_task

    found = find_task(task).under(protocol or "", dataset or "")
    split = split or found.split_for("submit")
    # A seed that a submission could guess would tell it the opponent's dice.
    seed = secrets.randbits(48) if seed is None else seed

    with progress_line() as progress:
        prepare_first(found, progress)
        result = run_stoppable(score(found, artefact, seed=seed, room=room, progress=progress, split=split))  # type: ignore[arg-type]
    if as_json:
        facts = picked(result, "verdict metrics score standard_error message isolation split dataset")
        print_json({"task": found.id, **facts, "seed": seed, **picked(result, "artifact duration")})
    else:
        _print_result(result, found, seed)
    sys.exit(0 if result.verdict == "ok" else 1)


def _print_result(result: Any, task: Any, seed: int) -> None:
    click.echo(f"{task.id}: {result.verdict}" + (f" — {visible(result.message)}" if result.message else ""))
    for name, value in result.metrics.items():
        primary = name == task.primary_metric.name
        error = f" ± {result.standard_error:.4f}" if primary and result.standard_error is not None else ""
        baseline = task.primary_metric.baseline
        against = f"  (baseline {baseline:.4f})" if primary and baseline is not None else ""
        click.echo(f"  {name}: {value:.4f}{error}{against}")
    data = f", data: {result.dataset}" if result.dataset else ""
    split = f", {result.split} data" if len(task.spec.evaluate.splits) > 1 else ""
    click.echo(f"  isolation: {result.isolation}{split}{data}, seed {seed}, {result.duration:.1f} s")
