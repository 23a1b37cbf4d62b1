"""doctor, image build, gc: the machine the workbench runs on."""

from __future__ import annotations

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
        print_json([check.as_dict() for check in checks])
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
    """The Docker image that agents work in.

    Example:
      mlgym-tui image build
    """


@image.command()
@click.option("--tag", metavar="NAME", help="Name of the image.")
@click.option("--method", type=click.Choice(["auto", "debian", "dockerfile"]), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; progress goes to stderr.")
def build(tag: str | None, method: str, as_json: bool) -> None:
    """Make the image.

    From containers/Dockerfile, or the same from Debian packages where no registry is reached.

    Examples:
      mlgym-tui image build
      mlgym-tui image build --method debian   where no registry can be reached
    """
    from workbench.isolation.image import DEFAULT_IMAGE, build_image

    name = tag or DEFAULT_IMAGE
    build_image(lambda line: click.echo(line, err=True), tag=name, method=method)  # type: ignore[arg-type]
    if as_json:
        print_json({"image": name})
    else:
        click.echo(f"built {name}")


@click.command(cls=Command)
@click.option("--dry-run", "-n", is_flag=True, help="Only say what would be removed.")
@click.option("--images", "with_images", is_flag=True, help="Also images that `image build` made, but the current one.")
@json_option
@sessions_option
def gc(dry_run: bool, with_images: bool, as_json: bool, sessions_folder: Path | None) -> None:
    """Remove what killed sessions left behind. Saved sessions stay.

    That is: containers, temporary folders, and folders of sessions that were killed before their first event.

    Examples:
      mlgym-tui gc --dry-run
      mlgym-tui gc
    """
    from workbench.isolation.image import find_old_images, remove_images
    from workbench.isolation.orphans import find_orphans, remove_orphans
    from workbench.isolation.spec import SandboxError
    from workbench.isolation.temporary import find_stale_folders, remove_stale_folders
    from workbench.session.store import find_unbegun, sessions_root

    problem = ""
    containers, images = [], []
    try:
        containers, images = find_orphans(), find_old_images() if with_images else []
        if not dry_run:
            containers = remove_orphans(containers) if containers else []
            remove_images(images)
    except SandboxError as error:
        problem = str(error)
    folders = find_stale_folders() if dry_run else remove_stale_folders()
    unbegun = find_unbegun(sessions_root(sessions_folder))
    for folder in unbegun if not dry_run else ():
        shutil.rmtree(folder, ignore_errors=True)
    folders += unbegun
    if as_json:
        print_json(
            {
                "removed": not dry_run,
                "containers": [
                    {"container": orphan.container, "name": orphan.name, "session": orphan.session}
                    for orphan in containers
                ],
                "images": images,
                "folders": [str(folder) for folder in folders],
                "docker_problem": problem,
            }
        )
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
