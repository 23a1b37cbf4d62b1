"""Servers prove who they are: a certificate of a known authority, for the name that was asked."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.environment.services.library import Library, open_library
from workbench.environment.services import fetch
from workbench.environment.services.addresses import Origin
from workbench.environment.services.fetch import Fetcher, FetchError, Pacer


def make_certificate(folder: Path) -> Path:
    """A certificate that signs itself, for 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "library")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + secret)
    return file


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    fetch._context.cache_clear()
    return make_certificate(tmp_path)


@pytest.fixture
async def library(certificate: Path) -> AsyncIterator[Library]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with open_library(context) as made:
        yield made


async def get(library: Library, folder: Path, host: str = "127.0.0.1") -> bytes:
    port = int(library.url.rpartition(":")[2])

    async def at_once(seconds: float) -> None:
        return

    fetcher = Fetcher(
        Pacer(folder, sleep=at_once),
        trusted=[Origin("https", host, port)],
        find=lambda origin, trusted: ["127.0.0.1"],
    )
    return await fetcher.get(f"https://{host}:{port}/pdf/1706.03762", most=1 << 20, time_limit=10)


async def test_an_unknown_authority_is_refused(library: Library, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="its certificate or encryption is refused"):
        await get(library, tmp_path / "turns")
    assert library.asked == []


async def test_a_known_one_is_asked(library: Library, tmp_path: Path, certificate: Path) -> None:
    fetch._context().load_verify_locations(certificate)
    assert (await get(library, tmp_path / "turns")).startswith(b"%PDF")


async def test_but_not_for_another_name(library: Library, tmp_path: Path, certificate: Path) -> None:
    fetch._context().load_verify_locations(certificate)
    with pytest.raises(FetchError, match="refused"):
        await get(library, tmp_path / "turns", "papers.example.org")
    assert library.asked == []


async def test_by_way_of_a_proxy(
    library: Library, tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    port = int(library.url.rpartition(":")[2])

    async def pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))

    proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("no_proxy", "elsewhere.example")
    monkeypatch.delenv("NO_PROXY", raising=False)
    fetch._context().load_verify_locations(certificate)
    try:
        assert (await get(library, tmp_path / "turns")).startswith(b"%PDF")
        [request] = asked
        assert request.startswith(f"CONNECT 127.0.0.1:{port} ") and "Proxy-Authorization: Basic bWU6c2VjcmV0" in request
        assert "proxy-authorization" not in library.headers[0], "the login is the proxy's alone"
        monkeypatch.setenv("https_proxy", "socks5://me:secret@127.0.0.1:1080")
        with pytest.raises(FetchError, match="the proxy of the environment") as error:
            await get(library, tmp_path / "turns")
        assert "secret" not in str(error.value)
    finally:
        proxy.close()


async def test_an_address_that_does_not_answer_is_passed_over(
    library: Library, tmp_path: Path, certificate: Path
) -> None:
    fetch._context().load_verify_locations(certificate)
    port = int(library.url.rpartition(":")[2])
    fetcher = Fetcher(
        Pacer(tmp_path / "turns"),
        trusted=[Origin("https", "127.0.0.1", port)],
        find=lambda origin, trusted: ["::1", "127.0.0.1"],
    )
    found = await fetcher.get(f"https://127.0.0.1:{port}/pdf/1706.03762", most=1 << 20, time_limit=10)
    assert found.startswith(b"%PDF")
