"""Names of known models that are like a wrong one."""

from __future__ import annotations

import difflib

from workbench.agents.models import prices


def nearest_models(model: str, most: int = 3) -> list[str]:
    """Up to `most` known `provider:name` like `model`: of its provider, or of all when that is unknown or left out."""
    provider, colon, name = model.partition(":")
    known = prices.known_models(provider) if colon else []
    if not known:
        name, known = model.rpartition(":")[2], prices.known_models()
    by_name = {entry.partition(":")[2]: entry for entry in known}
    found = difflib.get_close_matches(name.lower(), by_name, n=most, cutoff=0.5)
    return [by_name[match] for match in found]
