"""The image that containers run: which one it is, and whether the engine has it."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Literal

from workbench.isolation.engine import EngineError, engine, engine_errors
from workbench.isolation.spec import DEFAULT_IMAGE, SandboxError
from workbench.resources import data_folder

if TYPE_CHECKING:
    from docker import APIClient

RECIPE_LABEL = "mlgym-tui.recipe"
"""Label of our images: hash of the files they were made from."""

ImageState = Literal["missing", "outdated", "current"]


def recipe() -> str:
    """Hash of what the image is made from: changes when an image that is already there should be built anew."""
    folder = data_folder("containers")
    digest = hashlib.sha256()
    for name in ("Dockerfile", "packages.txt", "prepare.sh"):
        digest.update((folder / name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def image_state(tag: str = DEFAULT_IMAGE, time_limit: float = 60.0) -> ImageState:
    """Whether the image is there, and made from the recipe of this version. Raises SandboxError without an engine."""
    with engine(time_limit) as api:
        found = find_image(api, tag)
    if found is None:
        return "missing"
    labels = found.get("Config", {}).get("Labels") or {}
    return "current" if labels.get(RECIPE_LABEL) == recipe() else "outdated"


def find_image(api: APIClient, name: str) -> dict[str, Any] | None:
    """What the engine says of an image, or None when it is not there. Raises EngineError.

    Podman keeps what is built by hand under `localhost/`. The image of this version is known by its label as well.
    """
    found = inspect_image(api, name) or inspect_image(api, f"localhost/{name}")
    if found is None and name == DEFAULT_IMAGE:
        with engine_errors():
            labelled = api.images(filters={"label": f"{RECIPE_LABEL}={recipe()}"})
        oldest = min(labelled, key=lambda image: image.get("Created", 0), default=None)  # what is made of it inherits
        found = inspect_image(api, oldest["Id"]) if oldest else None
    return found


def inspect_image(api: APIClient, name: str) -> dict[str, Any] | None:
    """What the engine has under that very name or id, or None. Raises EngineError."""
    asked: Any = api  # the stubs know no types for it
    try:
        with engine_errors():
            return dict(asked.inspect_image(name))
    except EngineError as error:
        if error.status == 404:
            return None
        raise


def image_id(api: APIClient, name: str) -> str:
    """The id of an image. Raises SandboxError when it is not there."""
    found = find_image(api, name)
    if found is None:
        hint = "build it: mlgym-tui image build" if name.startswith("mlgym-tui/") else "pull or build it"
        raise SandboxError(f"the image {name} is not on this machine", hint)
    return str(found["Id"])


def find_old_images(api: APIClient, keep: str = DEFAULT_IMAGE) -> list[str]:
    """Images of ours other than `keep`: names, or ids where there is none. Raises EngineError.

    What somebody made of one of ours has its label, too, and another name.
    """
    kept = find_image(api, keep) or {"Id": ""}
    with engine_errors():
        found = [image for image in api.images(filters={"label": RECIPE_LABEL}) if image["Id"] != kept["Id"]]
    names: list[str] = []
    for image in found:
        tags = [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
        ours = [tag for tag in tags if re.fullmatch(r"(.+/)?mlgym-tui/agent:[^/:]+", tag)]
        names += ours if tags else [image["Id"]]
    return sorted(names)


def remove_unused(api: APIClient, image: str) -> bool:
    """Remove an image, unless it is gone or a container uses it; whether it was removed."""
    try:
        with engine_errors():
            api.remove_image(image)
        return True
    except EngineError as error:
        if error.status not in (404, 409):  # gone already; in use
            raise
        return False
