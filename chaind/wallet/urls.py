"""Addresses of nodes, as people type them."""

from urllib.parse import SplitResult, urlsplit

from chaind.wallet.errors import NodeSilent


def split_url(url: str) -> SplitResult:
    """The parts of a node's address, which has a scheme and a host. Raises `NodeSilent`."""
    if "://" not in url:
        where = url or "HOST:PORT"
        raise NodeSilent(url=url, reason=f"an address has a scheme: write http://{where}")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:  # the port, or brackets
        raise NodeSilent(url=url, reason=str(error)) from None
    if not sound:
        raise NodeSilent(url=url, reason="write http://HOST:PORT or https://HOST:PORT")
    return parts
