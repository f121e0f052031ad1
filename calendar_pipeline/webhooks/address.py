"""Where webhooks may go. Pure: URLs and IP addresses in, refusals out; no look-up.

A customer names the address, so it is a way into the operator's network for whoever wants one. An address is checked
when it is registered and again, after each look-up, right before the connection. The table is our own: Python's
`is_global` calls public what is not (multicast, NAT64 of private addresses, Azure's 168.63.129.16), differently in
each version.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from calendar_pipeline.errors import CalendarPipelineError, SetupError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DENIED: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's WireServer
        "169.254.0.0/16",  # link-local; cloud metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
        "::/96",  # unspecified, loopback, IPv4-compatible
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",
        "100::/64",
        "100:0:0:1::/64",
        "2001::/23",  # Teredo and others of the IETF's
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)

LONGEST_URL = 2048
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*", re.ASCII)
_VISIBLE = re.compile(r"[!-~]+", re.ASCII)


class Refused(CalendarPipelineError):
    """Nothing is sent there; the message says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What an operator permits beyond https to public addresses on port 443."""

    http: bool = False
    networks: tuple[Network, ...] = ()
    """Addresses that are permitted in spite of `DENIED`."""
    ports: frozenset[int] | None = frozenset({443})
    """None: any."""


def policy(*, http: bool, networks: str, ports: str) -> Policy:
    """The policy that settings tell; raises SetupError."""
    try:
        return Policy(
            http=http,
            networks=tuple(ip_network(part.strip()) for part in networks.split(",") if part.strip()),
            ports=None if ports.strip() == "any" else frozenset(int(part) for part in ports.split(",")),
        )
    except ValueError as error:
        raise SetupError(
            f"WEBHOOK_ALLOWED_NETWORKS are networks such as 10.1.0.0/16, WEBHOOK_PORTS are numbers or any: {error}"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL taken apart. `host` is a name in lower case, or an address as it is written."""

    secure: bool
    host: str
    port: int
    path: str
    address: Address | None
    """Set if the host is an address."""


def accept(url: str, policy: Policy) -> Target:
    """The URL if webhooks may go there, as far as can be said without a look-up; raises Refused."""
    if not _VISIBLE.fullmatch(url) or len(url) > LONGEST_URL or "\\" in url:
        raise Refused(
            "url", f"A webhook URL is up to {LONGEST_URL} visible ASCII characters; write other hosts in punycode."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused("url", "This is not a URL.") from None
    secure = parts.scheme == "https"
    if not secure and not (policy.http and parts.scheme == "http"):
        raise Refused("scheme", "A webhook URL starts with https://.")
    if "@" in parts.netloc:
        raise Refused("userinfo", "A webhook URL has no user name or password in it.")
    host = parts.hostname or ""
    address = _literal(host, bracketed="[" in parts.netloc)
    if port is None:
        port = 443 if secure else 80
    if policy.ports is not None and port not in policy.ports:
        raise Refused("port", f"Webhooks do not go to port {port}.")
    if address is not None:
        check([address], policy)
    path = parts.path or "/"
    return Target(
        secure=secure,
        host=host,
        port=port,
        path=f"{path}?{parts.query}" if parts.query else path,
        address=address,
    )


def _literal(host: str, *, bracketed: bool) -> Address | None:
    """The address that a host is, None if it is a name; raises Refused if it is neither.

    What browsers and C libraries read as an IPv4 address in other ways (decimal, hex, octal, short) is refused.
    """
    if bracketed:
        if "%" in host:
            raise Refused("host", "A webhook URL names no network interface.")
        try:
            return IPv6Address(host)
        except ValueError:
            raise Refused("host", "The host is not an address.") from None
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise Refused("host", "The host is not a name: letters, digits, hyphens and dots, no dot at the end.")
    last = host.rpartition(".")[2]
    if last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last):
        try:
            return IPv4Address(host)
        except ValueError:
            raise Refused("host", "An IPv4 address is written as four decimal numbers.") from None
    return None


def check(addresses: Sequence[Address], policy: Policy) -> None:
    """Raises Refused if any of a host's addresses is off limits: then the whole host is."""
    for address in addresses:
        plain = (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
        if _within(plain, policy.networks) or not _within(plain, DENIED):
            continue
        raise Refused("address", "The host has an address that is not public.")


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def parse(texts: Iterable[str]) -> list[Address]:
    """Addresses as a look-up gives them, each once; raises Refused for one that only one interface has."""
    found: list[Address] = []
    for text in dict.fromkeys(texts):
        if "%" in text:
            raise Refused("address", "The host has a link-local address.")
        found.append(ip_address(text))
    return found
