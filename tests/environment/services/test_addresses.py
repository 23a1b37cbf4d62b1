"""What the host does not ask for an agent, however it is written."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.environment.services.addresses import BadAddress, Origin, is_public, parse, resolve

ARXIV = Origin("https", "arxiv.org", 443)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "240.0.0.1", "192.0.2.1", "::", "::1", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2001:db8::1",
    ],
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(BadAddress, match="not a public host"):
        parse(f"http://{host}/")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://arxiv.org/", "file:///etc/passwd", "//arxiv.org", "arxiv.org", "", "http://", "http:///x", "gopher://a.b/",
        "http://localhost/", "http://LOCALHOST./", "http://host/", "http://a.localhost/", "http://printer.local/",
        "http://metadata.google.internal/", "http://0x7f.1/", "http://127.1/", "http://017700000001/", "http://0/",
        "http://u:p@arxiv.org/", "http://@arxiv.org/", "http://arxiv.org:22/", "http://arxiv.org:99999/",
        "http://arxiv.org:x/", "http://arxiv.org/\r\nX: y", "http://arxiv.org/ x", "http://arxiv.org/\x00",
        "http://[::1/", "http://[fe80::1%25eth0]/", "http://arxiv.org\\@127.0.0.1/", "http://" + "a" * 3000 + ".org/",
        "http://0.\u00b4/",  # its accent becomes a blank and an accent
        "http://１２７.0.0.1/",  # noqa: RUF001  # digits of full width are digits
    ],
)  # fmt: skip
def test_addresses_that_are_not_asked(url: str) -> None:
    with pytest.raises(BadAddress):
        parse(url)


def test_addresses_that_are_asked() -> None:
    target = parse("https://ArXiv.org./abs/1706.03762?x=ü y"[:-2])
    assert target.origin == ARXIV and target.url == "https://arxiv.org/abs/1706.03762?x=%C3%BC"
    assert parse("http://arxiv.org:80#part").url == "http://arxiv.org/"
    here = Origin("http", "127.0.0.1", 8080)
    assert parse("http://127.0.0.1:8080/x", [here]).origin == here
    with pytest.raises(BadAddress):
        parse("http://127.0.0.1:8081/x", [here])


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_is_refused(text: str) -> None:
    for url in (text, f"http://{text}"):
        try:
            target = parse(url)
        except BadAddress:
            continue
        assert target.url.isascii() and not any(character.isspace() for character in target.url)


def test_a_name_that_resolves_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*addresses: str) -> object:
        return lambda *_, **__: [(2, 1, 6, "", (address, 443)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found("8.8.8.8", "10.0.0.1"))
    with pytest.raises(BadAddress, match=r"arxiv\.org is not a public host"):
        resolve(ARXIV)
    assert resolve(ARXIV, [ARXIV]) == ["8.8.8.8", "10.0.0.1"], "where the user named it"
    monkeypatch.setattr(socket, "getaddrinfo", found("8.8.8.8", "8.8.8.8"))
    assert resolve(ARXIV) == ["8.8.8.8"]
