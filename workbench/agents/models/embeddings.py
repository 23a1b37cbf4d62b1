"""Embedding vectors from OpenAI, from a server that speaks its protocol, or from Google."""

from __future__ import annotations

import asyncio
import json
import math
import os
import warnings
from collections.abc import Sequence
from typing import Any

from workbench.agents.agent import ModelError
from workbench.agents.models.catalogue import split_name
from workbench.agents.models.gemini import ADDRESS_VARIABLE
from workbench.agents.models.keys import Key, find_key, key_for, scrub
from workbench.agents.models.wire import ServerSaid, causes, read_all, watched_client

MODEL_VARIABLE, SERVER_VARIABLE = "MLGYM_EMBEDDINGS", "MLGYM_EMBEDDINGS_URL"
SECONDS = 30.0
"""For all texts of one call together."""
_AT_ONCE = 64
_MOST_DIMENSIONS = 16_384
_LARGEST = 64 << 20
"""Bytes of the vectors of one call."""


class Embeddings:
    """An embedding model. Its SDK is imported at the first call."""

    def __init__(self, model: str, *, key: Key | None, base_url: str | None = None, provider: str = "openai") -> None:
        self.name = f"{model} {base_url or ''}".strip()
        self._ask = self._ask_google if provider == "gemini" else self._ask_openai
        self._model = model
        self._secret = key.reveal() if key else ""
        self._base_url = base_url

    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text, all of one size. Raises ModelError."""
        try:
            async with asyncio.timeout(SECONDS):
                vectors = await self._ask([text or " " for text in texts])  # some refuse an empty text
            _check(vectors, len(texts))
        except TimeoutError:
            raise ModelError("network", f"no vectors within {SECONDS:.0f} s") from None
        except (ValueError, TypeError, AttributeError, LookupError):  # answers need not be what the SDK promises
            raise ModelError("network", "no vectors: the server's answer holds none that fit together") from None
        except Exception as error:  # each SDK has its own
            told = next((cause.body for cause in causes(error) if isinstance(cause, ServerSaid)), error)
            said = scrub(str(told), self._secret)
            raise ModelError("network", f"no vectors: {' '.join(said.split())[:200]}") from None
        return vectors

    async def _ask_openai(self, texts: list[str]) -> list[list[float]]:
        import openai

        def make_client() -> openai.AsyncOpenAI:
            return openai.AsyncOpenAI(
                api_key=self._secret or "none",
                base_url=self._base_url,
                max_retries=1,
                timeout=SECONDS,
                http_client=watched_client(openai.DefaultAsyncHttpxClient, SECONDS),
            )

        vectors: list[list[float]] = []
        async with await asyncio.to_thread(make_client) as client:
            for start in range(0, len(texts), _AT_ONCE):
                batch = texts[start : start + _AT_ONCE]
                asking = client.embeddings.with_streaming_response.create(
                    model=self._model, input=batch, encoding_format="float"
                )
                async with asking as response:
                    data = json.loads(await read_all(response.http_response, _LARGEST))["data"]
                found = {item["index"]: [float(number) for number in item["embedding"]] for item in data}
                vectors += [found[index] for index in range(len(batch))]
        return vectors

    async def _ask_google(self, texts: list[str]) -> list[list[float]]:
        def ask() -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Python's age and its own, onto the screen
                from google.ai.generativelanguage import GenerativeServiceClient
                from google.generativeai.embedding import embed_content

            options = {"api_key": self._secret, "api_endpoint": self._base_url}
            # A client of its own: `genai.configure` keeps one key for the whole process.
            client = GenerativeServiceClient(transport="rest", client_options=options)
            model = self._model if "/" in self._model else f"models/{self._model}"
            return embed_content(model, texts, client=client, request_options={"timeout": SECONDS})

        vectors: list[list[float]] = (await asyncio.to_thread(ask))["embedding"]
        return vectors


def embeddings_of_user() -> Embeddings | None:
    """The embedding model that the user has set in MLGYM_EMBEDDINGS; None if there is none. Raises ModelError."""
    named = os.environ.get(MODEL_VARIABLE, "").strip()
    if not named:
        return None
    provider, name = split_name(named)
    url = os.environ.get(SERVER_VARIABLE, "").strip()
    if provider == "gemini" and not url:
        address = os.environ.get(ADDRESS_VARIABLE)
        return Embeddings(name, key=find_key("gemini"), base_url=address, provider="gemini")
    if provider != "openai":
        raise ModelError(
            "error", f"{MODEL_VARIABLE} must be gemini:NAME or openai:NAME (with {SERVER_VARIABLE} for another server)"
        )
    return Embeddings(name, key=key_for("openai", url or None), base_url=url or None)


def _check(vectors: list[list[float]], count: int) -> None:
    """Raises ValueError unless these are so many vectors of one size."""
    sizes = {len(vector) for vector in vectors}
    fits = len(vectors) == count and len(sizes) <= 1 and all(0 < size <= _MOST_DIMENSIONS for size in sizes)
    if not fits or not all(math.isfinite(number) for vector in vectors for number in vector):
        raise ValueError
