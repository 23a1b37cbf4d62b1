"""doctor, image build, gc: the machine the workbench runs on."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import click

from workbench.cli.errors import Command, Group
from workbench.cli.options import json_option, sessions_option
from workbench.cli.output import print_json


@click.command(cls=Command)
@json_option
def doctor(as_json: bool) -> None:
    """Say what works on this machine, and how to mend what does not. Exits with 0 when a session can be run.

    Examples:
      mlgym-tui doctor
      mlgym-tui doctor --json
    """
    from workbench.cli.doctor import examine

    checks = examine()
    if as_json:
        print_json(checks)
    else:
        glyphs = {"ok": "✓ ok     ", "warning": "! note   ", "missing": "✗ missing"}
        width = max(len(check.name) for check in checks)
        for check in checks:
            click.echo(f"{glyphs[check.status]}  {check.name.ljust(width)}  {check.detail}")
            if check.remedy:
                click.echo(f"{' ' * 11}{' ' * width}  → {check.remedy}")
    sys.exit(1 if any(check.status == "missing" and check.required for check in checks) else 0)


@click.group(cls=Group)
def image() -> None:
    """The image of the containers (Docker, Podman) that agents work in.

    Example:
      mlgym-tui image build
    """


@image.command()
@click.option("--tag", metavar="NAME", help="Name of the image.")
@click.option("--method", type=click.Choice(["auto", "debian", "dockerfile"]), default="auto", show_default=True)
@click.option(
    "--with",
    "extra",
    multiple=True,
    metavar="PACKAGE",
    help="Another image, with this Python package (an agent program) on top of the image. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; progress goes to stderr.")
def build(tag: str | None, method: str, extra: tuple[str, ...], as_json: bool) -> None:
    """Make the image.

    From containers/Dockerfile, or the same from Debian packages where no registry is reached.

    Examples:
      mlgym-tui image build
      mlgym-tui image build --method debian   where no registry can be reached
      mlgym-tui image build --with mini-swe-agent --tag my/agent
    """
    from workbench.isolation.image_build import build_image
    from workbench.isolation.spec import DEFAULT_IMAGE

    name, programs = tag or DEFAULT_IMAGE, list[str]()
    if extra:
        name = tag or f"mlgym-tui/with-{re.sub(r'[^a-z0-9]+', '-', extra[0].lower()).strip('-')}"
        programs = _build_with(extra, name)
    else:
        build_image(lambda line: click.echo(line, err=True), tag=name, method=method)  # type: ignore[arg-type]
    if as_json:
        print_json({"image": name, "programs": programs})
    else:
        click.echo(f"built {name}" + (f", with {', '.join(programs)}" if programs else ""))
        if programs:
            click.echo(f"run TASK --sandbox docker --image {name} --agent-command '…' starts one of them")


def _build_with(packages: tuple[str, ...], name: str) -> list[str]:
    """An image with Python packages on top of ours, which is built where it is not there. Their programs."""
    from workbench.isolation.image import image_state
    from workbench.isolation.image_build import build_image
    from workbench.isolation.image_with import add_environment
    from workbench.isolation.spec import DEFAULT_IMAGE
    from workbench.tasks.packages import image_python, install

    def tell(line: str) -> None:
        click.echo(line, err=True)

    if image_state() == "missing":
        build_image(tell)
    python = image_python(DEFAULT_IMAGE)
    folder = install(packages, python, lambda _, line: tell(line))
    return add_environment(DEFAULT_IMAGE, name, folder, python.version, tell)


@click.command(cls=Command)
@click.option("--dry-run", "-n", is_flag=True, help="Only say what would be removed.")
@click.option("--images", "with_images", is_flag=True, help="Also images of ours but the current one.")
@json_option
@sessions_option
def gc(dry_run: bool, with_images: bool, as_json: bool, sessions_folder: Path) -> None:
    """Remove what killed sessions left behind. Saved sessions stay.

    That is: containers (of each engine that is here), temporary folders, and folders of sessions that were killed
    before their first event.

    Examples:
      mlgym-tui gc --dry-run
      mlgym-tui gc
    """
    from workbench.isolation.engine import engine, engine_address, engine_addresses
    from workbench.isolation.image import find_old_images, remove_unused
    from workbench.isolation.orphans import Orphan, find_orphans, remove_container
    from workbench.isolation.spec import SandboxError
    from workbench.isolation.temporary import find_stale_folders, remove_stale_folders
    from workbench.session.store import find_unbegun

    problem = ""
    containers, images = list[Orphan](), list[str]()
    for address in dict.fromkeys(engine_addresses()) or [engine_address()]:
        try:
            with engine(10.0, address) as api:
                for orphan in find_orphans(api):
                    if not dry_run:
                        remove_container(api, orphan.container)
                    containers.append(orphan)
                for name in find_old_images(api) if with_images else ():
                    if dry_run or remove_unused(api, name):
                        images.append(name)
        except SandboxError as error:
            problem = str(error)
    folders = find_stale_folders() if dry_run else remove_stale_folders()
    unbegun = find_unbegun(sessions_folder)
    for folder in unbegun if not dry_run else ():
        shutil.rmtree(folder, ignore_errors=True)
    folders += unbegun
    if as_json:
        left = [orphan._asdict() for orphan in containers]
        found = {"containers": left, "images": images, "folders": folders, "docker_problem": problem}
        print_json({"removed": not dry_run, **found})
        return
    verb = "would remove" if dry_run else "removed"
    for orphan in containers:
        click.echo(f"{verb} container {orphan.name} (session {orphan.session})")
    for name in images:
        click.echo(f"{verb} image {name}")
    for folder in folders:
        click.echo(f"{verb} folder {folder}")
    if problem:
        click.echo(f"containers were not looked at: {problem}", err=True)
    if not containers and not images and not folders:
        click.echo("nothing to remove")
