"""Which addresses may be requested: http and https, the usual ports, and no machine in a private network. A sandbox
without a network must not reach the host's own network by having the host ask for it: not by a link, not by a name that
resolves to a private address, and not by a redirect.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from urllib.parse import quote, urlsplit

import msgspec

_LONGEST = 2000
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class BadAddress(Exception):
    """An address that is refused. `str()` says why."""


class Origin(msgspec.Struct, frozen=True):
    """A server."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return self.host if self.port in (80, 443) else f"{self.host}:{self.port}"


class Target(msgspec.Struct, frozen=True):
    """An address, taken apart."""

    origin: Origin
    url: str
    """Ready to be sent, without the fragment."""


def parse(url: str, trusted: Collection[Origin] = ()) -> Target:
    """The parts of an address. Only servers that are `trusted` may have another port than the usual ones.

    Raises BadAddress.
    """
    if len(url) > _LONGEST:
        raise BadAddress(f"the address has more than {_LONGEST} characters")
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise BadAddress("the address holds blanks or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadAddress("the address is malformed") from None
    if parts.scheme not in ("http", "https"):
        raise BadAddress("only http and https are asked")
    if parts.username is not None or parts.password is not None:
        raise BadAddress("the address holds a name or password")
    host = _host(parts.hostname or "")
    origin = Origin(parts.scheme, host, port or _PORTS[parts.scheme])
    if origin not in trusted:
        if origin.port not in (80, 443):
            raise BadAddress(f"port {origin.port} is not asked")
        _check_name(host)
    path = quote(parts.path or "/", safe="/:@!$&'()*+,;=~%-._")
    query = quote(parts.query, safe="/:@!$&'()*+,;=~%-._?")
    usual = origin.port == _PORTS[origin.scheme]
    place = f"{f'[{host}]' if ':' in host else host}{'' if usual else f':{origin.port}'}"
    return Target(origin, f"{origin.scheme}://{place}{path}{f'?{query}' if query else ''}")


def _host(name: str) -> str:
    try:
        host = name.rstrip(".").encode("idna").decode("ascii").lower() if not name.isascii() else name.rstrip(".")
    except UnicodeError:
        raise BadAddress("the address has no proper host") from None
    # Folding a name can leave what no name holds: an accent that stands alone becomes a blank and an accent.
    if not host or not _HOST.fullmatch(host):
        raise BadAddress("the address has no proper host")
    return host.lower()


def _check_name(host: str) -> None:
    """Check a host as far as that is possible without resolving its name. Raises BadAddress."""
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        # A name without a dot, or under these, is one of the local network. 0x7f.1 and its like are no names either.
        last = host.rpartition(".")[2]
        if "." not in host or last in ("localhost", "local", "internal", "lan", "home", "arpa") or last[:1].isdigit():
            raise BadAddress(f"{host[:100]} is not a public host") from None
        return
    if not is_public(literal):
        raise BadAddress(f"{host} is not a public host")


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is on the public internet. An IPv4 address inside an IPv6 one must be, too."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and not is_public(inner):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def resolve(origin: Origin, trusted: Collection[Origin] = ()) -> list[str]:
    """The addresses of a server, of which any may be connected to. Blocks. Raises BadAddress, OSError."""
    found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
    if origin not in trusted:
        for address in addresses:
            if not is_public(ipaddress.ip_address(address.partition("%")[0])):
                raise BadAddress(f"{origin.host} is not a public host")
    return addresses
