"""Chat models by name: `provider:name`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from workbench.agents.agent import ModelError
from workbench.agents.models.base import ProviderModel
from workbench.agents.models.keys import VARIABLES, key_for
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
    key = key_for(provider, base_url, env)
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


_CLASSES = {"openai": "OpenAIModel", "anthropic": "AnthropicModel", "gemini": "GeminiModel"}
"""Each in the module of its provider's name, imported when it is wanted: the SDKs are large."""
