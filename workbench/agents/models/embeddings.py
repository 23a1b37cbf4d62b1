"""Embedding vectors from OpenAI's endpoint, or from a server that speaks the same protocol."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Sequence
from typing import Any

from workbench.agents.agent import ModelError
from workbench.agents.models.catalogue import check_address, split_name
from workbench.agents.models.keys import Key, find_key, find_server_key, scrub
from workbench.agents.models.wire import watched_client

MODEL_VARIABLE, SERVER_VARIABLE = "MLGYM_EMBEDDINGS", "MLGYM_EMBEDDINGS_URL"
SECONDS = 30.0
"""For all texts of one call together."""
_AT_ONCE = 64
_MOST_DIMENSIONS = 16_384


class Embeddings:
    """An embedding model. Its SDK is imported at the first call."""

    def __init__(self, model: str, *, key: Key | None, base_url: str | None = None) -> None:
        self.name = f"{model} {base_url or ''}".strip()
        self._model = model
        self._key = key
        self._base_url = base_url

    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text, all of one size. Raises ModelError."""
        import openai

        def make_client() -> openai.AsyncOpenAI:
            return openai.AsyncOpenAI(
                api_key=self._key.reveal() if self._key else "none",
                base_url=self._base_url,
                max_retries=1,
                timeout=SECONDS,
                http_client=watched_client(openai.DefaultAsyncHttpxClient, SECONDS),
            )

        client = await asyncio.to_thread(make_client)
        try:
            async with asyncio.timeout(SECONDS), client:
                vectors: list[list[float]] = []
                for start in range(0, len(texts), _AT_ONCE):
                    batch = [text or " " for text in texts[start : start + _AT_ONCE]]
                    answer = await client.embeddings.create(model=self._model, input=batch, encoding_format="float")
                    vectors += _vectors(answer, len(batch))
        except TimeoutError:
            raise ModelError("network", f"no vectors within {SECONDS:.0f} s") from None
        except openai.OpenAIError as error:
            said = scrub(str(error), *([self._key.reveal()] if self._key else []))
            raise ModelError("network", f"no vectors: {' '.join(said.split())[:200]}") from None
        except (ValueError, TypeError, AttributeError):  # what a server says need not be what the SDK promises
            raise ModelError("network", "no vectors: the server's answer holds none") from None
        if len({len(vector) for vector in vectors}) > 1:
            raise ModelError("network", "no vectors: the server's are of several sizes")
        return vectors


def embeddings_of_user() -> Embeddings | None:
    """The embedding model that the user has set in MLGYM_EMBEDDINGS; None if there is none. Raises ModelError."""
    named = os.environ.get(MODEL_VARIABLE, "").strip()
    if not named:
        return None
    provider, name = split_name(named)
    if provider != "openai":
        raise ModelError("error", f"{MODEL_VARIABLE} must be openai:NAME (with {SERVER_VARIABLE} for another server)")
    url = os.environ.get(SERVER_VARIABLE, "").strip()
    if not url:
        return Embeddings(name, key=find_key("openai"))
    check_address(url)
    return Embeddings(name, key=find_server_key(), base_url=url)


def _vectors(answer: Any, count: int) -> list[list[float]]:
    found = {item.index: [float(number) for number in item.embedding] for item in answer.data}
    vectors = [found[index] for index in range(count) if index in found]
    if len(vectors) != count or not all(0 < len(vector) <= _MOST_DIMENSIONS for vector in vectors):
        raise ValueError
    if not all(math.isfinite(number) for vector in vectors for number in vector):
        raise ValueError
    return vectors
