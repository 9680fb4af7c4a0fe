"""Addresses of nodes, as people type them."""

from urllib.parse import SplitResult, urlsplit

from chaind.primitives.errors import LocalFault
from chaind.wallet.errors import printable


class UrlInvalid(LocalFault):
    """Not where a node could be."""

    code = "url-invalid"
    text = "{url} is no address of a node: {reason}"
    advice = "`chaind run` and `chaind devnet` say where they listen."
    exit_code = 64  # EX_USAGE


def node_url(url: str) -> str:
    """The address of a node's API that paths are added to. Raises `UrlInvalid`.

    What else could stand in one would be lost, or shown to others.
    """
    parts = split_url(url)
    if parts.username is not None or parts.query or parts.fragment:
        raise _invalid(url, "write http://HOST:PORT alone")
    return url.rstrip("/")


def split_url(url: str) -> SplitResult:
    """The parts of a node's address, which has a scheme and a host. Raises `UrlInvalid`."""
    if "://" not in url:
        where = printable(url.rpartition("@")[2]) or "HOST:PORT"
        raise _invalid(url, f"an address has a scheme: write http://{where}")
    try:
        parts = urlsplit(url)
        named = parts.hostname and parts.hostname.isprintable() and " " not in parts.hostname
        sound = parts.scheme in ("http", "https") and named and parts.port != 0
    except ValueError as error:  # the port, or brackets
        raise _invalid(url, str(error)) from None
    if not sound:
        raise _invalid(url, "write http://HOST:PORT or https://HOST:PORT")
    return parts


def _invalid(url: str, reason: str) -> UrlInvalid:
    """What stands before an @ may be a password."""
    shown = url.rpartition("@")[2].partition("?")[0] or "nothing"
    return UrlInvalid(url=printable(shown), reason=reason)
