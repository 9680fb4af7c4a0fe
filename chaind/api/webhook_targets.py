"""Where a webhook may point: http and https, and addresses that are everybody's.

Law: whoever may subscribe must not reach through this node what only this machine or its network
can reach. A name is resolved anew for every connection, and the connection goes to the very
addresses that were looked at; a literal address is looked at before every request.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from chaind.primitives.errors import Malformed, NotAllowed

URL_CHARS_MAX = 2_048
RESOLVE_S_MAX = 5.0
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class WebhookUrlInvalid(Malformed):
    code = "webhook-url-invalid"
    text = "{url} cannot be a webhook: {reason}"
    advice = "Give an http or https URL with a host, without a user, a password or a fragment."


class WebhookTargetRefused(NotAllowed):
    code = "webhook-target-refused"
    text = "webhooks of this node do not go to {host}: it is no public address"
    advice = "Whoever runs the node can allow it: [webhooks] allow_private = true."


class AddressRefused(OSError):
    """What a connection's attempt fails with where its address is not public."""


def read_url(text: str) -> URL:
    """The URL of a subscription. Raises `WebhookUrlInvalid`; says nothing about the address."""

    def refuse(reason: str) -> WebhookUrlInvalid:
        return WebhookUrlInvalid(url=text[:100], reason=reason)

    if len(text) > URL_CHARS_MAX:
        raise refuse(f"it is longer than {URL_CHARS_MAX} characters")
    if not text.isprintable() or " " in text:
        raise refuse("it holds blanks or control characters")
    try:
        url = URL(text)
        host, port = url.host, url.port
    except ValueError as error:
        raise refuse(str(error)[:100]) from None
    if url.scheme not in ("http", "https"):
        raise refuse("its scheme is neither http nor https")
    if not host or not port:
        raise refuse("it names no host, or no port that exists")
    if literal(host) is None and host.replace(".", "").isdigit():
        # aiohttp would take it for an address and ask no resolver; the system reads 2130706433.
        raise refuse("its host is neither a name nor an address")
    if url.user is not None or url.password is not None or url.fragment:
        raise refuse("it has a user, a password or a fragment")
    return url


def is_public(address: _Address) -> bool:
    """Whether an address is everybody's, and not this machine's, its network's or a group's.

    IPv6 addresses that carry an IPv4 one are judged by that one.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


def literal(host: str) -> _Address | None:
    """The address that a host is written as, None for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


async def check_target(url: URL, *, allow_private: bool) -> None:
    """Raise `WebhookTargetRefused` where the host is, or a name leads, to what is not public.

    A name that leads nowhere now may do so later: every connection looks again.
    """
    if allow_private:
        return
    host = url.host
    assert host is not None, "read_url saw one"
    address = literal(host)
    if address is not None:
        if not is_public(address):
            raise WebhookTargetRefused(host=host)
        return
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_S_MAX):
            found = await loop.getaddrinfo(host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return
    if not all(_is_public_text(str(entry[4][0])) for entry in found):
        raise WebhookTargetRefused(host=host)


def refuse_literal(url: URL) -> None:
    """Raise `AddressRefused` for a literal address that is not public: no resolver sees those."""
    address = literal(url.host or "")
    if address is not None and not is_public(address):
        raise AddressRefused(str(address))


def _is_public_text(text: str) -> bool:
    address = literal(text)
    return address is not None and is_public(address)


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses those that lead to what is not public."""

    def __init__(self, make: Callable[[], AbstractResolver] = ThreadedResolver) -> None:
        self._inner = make()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See `AbstractResolver`. Raises `AddressRefused`."""
        found = await self._inner.resolve(host, port, family)
        if not all(_is_public_text(entry["host"]) for entry in found):
            raise AddressRefused(host)
        return found

    async def close(self) -> None:
        """See `AbstractResolver`."""
        await self._inner.close()
