"""Chat models by name: `provider:name`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from urllib.parse import urlsplit

from workbench.agents.agent import ModelError
from workbench.agents.models.base import ProviderModel
from workbench.agents.models.keys import SERVER_VARIABLE, VARIABLES, Key, find_key, find_server_key
from workbench.session import prices

PROVIDERS = tuple(VARIABLES)
"""Providers whose models can be named."""


def make_model(
    model: str,
    *,
    base_url: str | None = None,
    env: Mapping[str, str] | None = None,
) -> ProviderModel:
    """The chat model `provider:name`; its SDK is imported at the first call.

    `base_url` names another server that speaks the provider's protocol. That server gets the key in MLGYM_MODEL_API_KEY
    if there is one, never the provider's own, and its calls have no price.

    Raises ModelError, in one sentence: `error` for an impossible name or address, `auth` for a missing key.
    """
    provider, name = split_name(model)
    key: Key | None
    if base_url is None:
        key = find_key(provider, env)
    else:
        check_address(base_url)
        key = find_server_key(env=env)
    adapter = getattr(importlib.import_module(f"workbench.agents.models.{provider}"), _CLASSES[provider])
    model_of_provider: ProviderModel = adapter(name, key=key, base_url=base_url)
    return model_of_provider


def split_name(model: str) -> tuple[str, str]:
    """Provider and name of `provider:name`.

    Raises ModelError (error), with the nearest known names, if it has another form or the provider is unknown.
    """
    provider, colon, name = model.partition(":")
    if provider in PROVIDERS and name.strip():
        return provider, name.strip()
    near = prices.known_models(provider)[:2] if provider in PROVIDERS else prices.nearest_models(model)
    if near and near[0].partition(":")[2] == model.rpartition(":")[2]:
        near = near[:1]
    hint = f"did you mean {' or '.join(near)}?" if near else "for example openai:gpt-5.4-mini"
    if colon and provider not in PROVIDERS:
        reason = f"there is no provider {provider!r} (there are {', '.join(PROVIDERS)})"
    else:
        reason = f"{model!r} is not provider:name"
    raise ModelError("error", f"{reason}; {hint}")


def check_address(base_url: str) -> None:
    """Raises ModelError (error) if this cannot be the address of a server."""
    try:
        parts = urlsplit(base_url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = None
    if good and "@" in parts.netloc:  # it is kept in the log, for resume
        raise ModelError(
            "error", f"the address of {parts.hostname} holds a password; leave it out and set {SERVER_VARIABLE} instead"
        )
    if not good:
        raise ModelError(
            "error", f"{base_url!r} is not the address of a server; it looks like http://localhost:8000/v1"
        )


_CLASSES = {"openai": "OpenAIModel", "anthropic": "AnthropicModel", "gemini": "GeminiModel"}
"""Each in the module of its provider's name, imported when it is wanted: the SDKs are large."""
