"""Where a gateway gets its answers: the server of a provider, or any other that speaks its protocol."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from workbench.agents.agent import ModelError
from workbench.agents.models.keys import Key, key_for, scrub
from workbench.agents.remote import Host
from workbench.gateway.answering import DROPPED, Reply, Unanswered, Upstream, UpstreamError
from workbench.gateway.protocols.base import Asked
from workbench.session.secrets import REPLACEMENT

ADDRESSES = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}
SILENCE = 600.0
"""Seconds without any piece of an answer after which it is given up."""
_VERSIONED = re.compile(r"/v\d\w*/*\Z")


class Server(Upstream):
    """A server, reached over HTTP. It gets what the client sent, byte for byte, but for the key and the model."""

    def __init__(self, provider: str, name: str, *, key: Key | None, base_url: str = "", model: str = "") -> None:
        """`model` takes the place of the model that requests name."""
        self.provider, self.model = provider, model
        self.name = f"{provider}:{name}" if name else provider
        self.base_url = base_url
        self._address = (base_url or ADDRESSES[provider]).rstrip("/")
        self._key = key
        self._client: Any = None

    def __repr__(self) -> str:
        return f"Server({self.name})"

    async def answer(self, asked: Asked, host: Host) -> Reply:
        return await self.pass_on("POST", asked.path, asked.query, list(asked.headers), asked.body)

    async def pass_on(self, method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes) -> Reply:
        import httpx2

        client = self._client = self._client or self._make_client()
        url = self._address + self._below(path) + (f"?{query}" if query else "")
        request = client.build_request(method, url, headers=[*headers, *self._signed()], content=body)
        try:
            response = await client.send(request, stream=True)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Unanswered(502, "network", self._unreachable(error)) from None
        kept = [
            (name, self._without_key(value.encode("latin-1", "replace")).decode("latin-1"))
            for name, value in response.headers.items()
            if name.lower() not in DROPPED
        ]
        encoding = response.headers.get("content-encoding", "identity").lower()
        if encoding not in ("", "identity") or 300 <= response.status_code < 400:
            await response.aclose()
            what = "points to another address" if encoding in ("", "identity") else "sends a compressed answer"
            raise Unanswered(502, "error", f"{self._who} {what}, which was not asked for; check its address")
        return Reply(response.status_code, kept, self._pieces(response))

    async def _pieces(self, response: Any) -> AsyncIterator[bytes]:
        import httpx2

        try:
            async for piece in response.aiter_raw():
                yield self._without_key(piece)
        except httpx2.HTTPError as error:
            raise Unanswered(502, "network", self._unreachable(error)) from None
        finally:
            await response.aclose()

    def _without_key(self, data: bytes) -> bytes:
        """Some servers repeat the key that they do not accept."""
        secret = self._key.reveal().encode() if self._key is not None else b""
        return data.replace(secret, REPLACEMENT.encode()) if secret and secret in data else data

    def _make_client(self) -> Any:
        import httpx2

        return httpx2.AsyncClient(
            timeout=httpx2.Timeout(SILENCE, connect=20.0, pool=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100),
            follow_redirects=False,
            headers={"User-Agent": ""},
        )

    def _below(self, path: str) -> str:
        """The path below the address, which may end in a version or not."""
        if self.provider == "openai" or _VERSIONED.search(self._address):
            return re.sub(r"\A/v\d\w*(?=/)", "", path)
        return path

    def _signed(self) -> list[tuple[str, str]]:
        if self._key is None:
            return []
        secret = self._key.reveal()
        return {
            "openai": [("Authorization", f"Bearer {secret}")],
            "anthropic": [("x-api-key", secret)],
            "gemini": [("x-goog-api-key", secret)],
        }[self.provider]

    @property
    def _who(self) -> str:
        return f"the server at {self.base_url}" if self.base_url else f"the server of {self.provider}"

    def _unreachable(self, error: Exception) -> str:
        secret = self._key.reveal() if self._key is not None else ""
        said = scrub(f"{type(error).__name__}: {error}", secret)[:300]
        return f"{self._who} cannot be reached, or has broken off ({said}); check its address, then try again"

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def make_upstream(name: str, *, base_url: str = "", model: str = "", sessions: Path | None = None) -> Upstream:
    """The upstream of `--upstream`: one, or several with commas between them, each of which goes on where the one
    before has nothing more to say (`replay:SESSION@STEP,ask,openai:NAME`). `base_url` and `model` are for a server;
    `sessions` is the folder in which a session is looked for. Raises UpstreamError and SessionNotFound.
    """
    first, _, rest = name.partition(",")
    kind, _, what = first.partition(":")
    if kind == "replay" and what:
        return _make_replay(what, rest, base_url, model, sessions)
    if rest:
        raise UpstreamError(f"nothing can go on where {first} is at its end", "only replay:SESSION has an end")
    if first == "human":
        from workbench.gateway.composing import Person

        return Person()
    if kind == "scripted":
        from workbench.gateway.scripted import Scripted

        return Scripted.read(Path(what).expanduser()) if what else Scripted()
    if kind not in ADDRESSES:
        known = [*(f"{each}:NAME" for each in ADDRESSES), "human", "scripted", "scripted:FILE", "replay:SESSION"]
        raise UpstreamError(f"unknown upstream {first!r}", f"there are {', '.join(known)}")
    try:
        key = key_for(kind, base_url or None)
    except ModelError as error:
        raise UpstreamError(str(error)) from None
    return Server(kind, what, key=key, base_url=base_url, model=model)


def _make_replay(what: str, rest: str, base_url: str, model: str, sessions: Path | None) -> Upstream:
    from workbench.gateway.replay import Replay
    from workbench.session.store import find_session, sessions_root

    reference, at, step = what.rpartition("@")
    if not at or not step.isdigit():
        reference, step = what, ""
    then, _, more = rest.partition(",")
    ask = then == "ask"
    following = more if ask else rest
    return Replay(
        find_session(sessions_root(sessions), reference),
        until=int(step) if step else None,
        ask=ask,
        then=make_upstream(following, base_url=base_url, model=model, sessions=sessions) if following else None,
    )
