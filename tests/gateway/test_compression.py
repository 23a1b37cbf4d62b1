"""Requests that a client has compressed."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from tests.gateway.rig import Rig, answer, gateway, user, whole
from workbench.gateway import server

BODY = json.dumps({"model": "m-1", "messages": [user("Hi.")]}).encode()


async def post(rig: Rig, body: bytes, encoding: str) -> int:
    headers = {"authorization": f"Bearer {rig.gateway.key}", "content-encoding": encoding}
    return (await rig.client.post(f"{rig.url}/v1/chat/completions", content=body, headers=headers)).status_code


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstandard.compress), ("identity", bytes)],
)
async def test_what_goes_on_is_the_request_as_it_was(
    tmp_path: Path, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    async with gateway(tmp_path) as rig:
        rig.server.answers(whole(answer("Fine.")))
        assert await post(rig, compress(BODY), encoding) == 200
        assert rig.server.calls[0].body == json.loads(BODY)
        assert "content-encoding" not in rig.server.calls[0].headers


async def test_what_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LARGEST", 1000)
    bomb = b" " * 100_000
    async with gateway(tmp_path) as rig:
        assert await post(rig, gzip.compress(bomb), "gzip") == 413
        assert await post(rig, zstandard.compress(bomb), "zstd") == 413
        assert await post(rig, gzip.compress(gzip.compress(bomb)), "gzip, gzip") == 413
        assert await post(rig, gzip.compress(BODY)[:-9], "gzip") == 400
        assert await post(rig, BODY, "zstd") == 400
        assert await post(rig, BODY, "br") == 415
        assert await post(rig, BODY, "gzip, gzip, gzip") == 415
        assert not rig.server.calls
