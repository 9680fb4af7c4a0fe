"""Who may ask: hosts, origins, rates, and the cookie that spending the node's keys needs.

A browser on the same machine is the usual attacker of a local API. The Host list stops DNS
rebinding, Origin and Sec-Fetch-Site stop foreign pages, content types stop plain forms.
"""

import hmac
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from aiohttp import web

from chaind.api.problems import MediaTypeUnsupported, RateLimited, TokenNeeded
from chaind.node.config import ApiSection, SettingFileAbsent
from chaind.node.home import Home
from chaind.primitives.errors import LocalFault, NotAllowed
from chaind.storage.files import OsFiles, translated

CLIENTS_MAX = 10_000  # buckets kept, 2 MiB; the one not seen longest goes, and begins afresh
HOSTS_MAX = 1_000  # Host headers whose verdict is remembered
TOKEN_BYTES = 32
TOKEN_CHARS_MIN, TOKEN_CHARS_MAX = 16, 1_024
FORWARDING_HEADERS = (
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
    "Via",
)
SAFE_METHODS = frozenset({"GET", "HEAD"})


class HostNotAllowed(NotAllowed):
    code = "host-not-allowed"
    text = "this node is not called {host}"
    advice = "Use an address of this node, or add the name to [api] allowed_hosts."


class OriginNotAllowed(NotAllowed):
    code = "origin-not-allowed"
    text = "pages of {origin} may not use this node"
    advice = "Call the node from outside a browser, or from a page that it serves itself."


class TokenFileInvalid(LocalFault):
    code = "token-file-invalid"
    text = "{path} holds no token: one line of 16 to 1024 visible characters is needed"
    advice = (
        "Write such a line into the file, or leave the setting that names it empty: the node then "
        "makes a secret of its own."
    )
    exit_code = 78  # EX_CONFIG


class Access(Enum):
    """What a route asks of its caller."""

    OPEN = "open"
    DEVELOPMENT = "development"  # the token, but on a development chain over loopback nothing
    TOKEN = "token"  # noqa: S105 — the name of a rule


def make_token(section: ApiSection, home: Home) -> str:
    """The configured token, or a new one in `api.token`, readable by its owner alone."""
    if section.token_file:
        return named_token("[api] token_file", section.token_file)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    OsFiles().write_atomic(home.api_token, token.encode() + b"\n")
    return token


def named_token(setting: str, name: str) -> str:
    """The token of the file that a setting names. Raises `SettingFileAbsent`, or what `read_token`
    does."""
    path = Path(name).expanduser()
    with translated(path, "look at"):
        there = path.exists()
    if not there:
        raise SettingFileAbsent(name=setting, path=path)
    return read_token(path)


def read_token(path: Path) -> str:
    """The token of a file. Raises `TokenFileInvalid` or `FileMissing`."""
    data = OsFiles().read(path, 0, TOKEN_CHARS_MAX + 2).strip()
    visible = all(33 <= char <= 126 for char in data)
    if not visible or not TOKEN_CHARS_MIN <= len(data) <= TOKEN_CHARS_MAX:
        raise TokenFileInvalid(path=path)
    return data.decode("ascii")


class Buckets:
    """A token bucket per client address. `clock_ms` is monotonic."""

    def __init__(self, per_second: int, burst: int, clock_ms: Callable[[], float]) -> None:
        self._rate = per_second / 1000
        self._burst = float(burst)
        self._clock_ms = clock_ms
        # client → (tokens, when), seen longest ago first
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Use one token. Raises `RateLimited`."""
        now_ms = self._clock_ms()
        tokens, then_ms = self._buckets.pop(client, (self._burst, now_ms))
        tokens = min(self._burst, tokens + (now_ms - then_ms) * self._rate)
        allowed = tokens >= 1.0
        self._buckets[client] = (tokens - 1.0 if allowed else tokens, now_ms)
        if len(self._buckets) > CLIENTS_MAX:
            self._buckets.popitem(last=False)
        if not allowed:
            wait_s = (1.0 - tokens) / self._rate / 1000
            raise RateLimited(retry_after_s=max(1, round(wait_s + 0.5)))


class Guards:
    """See the module's law. `dev` is the genesis's word."""

    def __init__(
        self, section: ApiSection, *, dev: bool, token: str, clock_ms: Callable[[], float]
    ) -> None:
        self._token = token.encode()
        self._open_development = dev and is_loopback(section.host)
        self._hosts = {host.lower() for host in (*section.allowed_hosts, section.host)}
        self._known_hosts: dict[str, bool] = {}
        self.buckets = Buckets(section.requests_per_second, section.requests_burst, clock_ms)

    def admit(self, request: web.Request) -> None:
        """Raise `RateLimited`, `HostNotAllowed` or `OriginNotAllowed`."""
        self.buckets.take(client_of(request.remote or ""))
        headers = request.headers
        host = headers.get("Host", "")
        if not self._is_ours(host):
            raise HostNotAllowed(host=host[:100])
        origin = headers.get("Origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise OriginNotAllowed(origin=origin[:100])
        site = headers.get("Sec-Fetch-Site")
        # Another port of this host may link here, but its scripts may not change anything.
        linked = site == "same-site" and request.method in SAFE_METHODS
        if site not in (None, "same-origin", "none") and not linked:
            raise OriginNotAllowed(origin=f"another site ({site[:20]})")

    def authorise(self, request: web.Request, access: Access) -> None:
        """Raise `TokenNeeded` unless the caller has what the route asks."""
        if access is Access.OPEN:
            return
        if access is Access.DEVELOPMENT and self._open_development and _is_direct(request):
            return
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(errors="replace"), self._token)
        if scheme.lower() != "bearer" or not right:
            raise TokenNeeded

    def _is_ours(self, host: str) -> bool:
        known = self._known_hosts.get(host)
        if known is None:
            if len(self._known_hosts) >= HOSTS_MAX:
                self._known_hosts.clear()
            known = self._known_hosts[host] = host_name(host) in self._hosts
        return known


def client_of(remote: str) -> str:
    """Who counts as one client: an address, for IPv6 the /64 that one client holds."""
    if ":" in remote:
        address = ipaddress.IPv6Address(remote.partition("%")[0])
        if address.ipv4_mapped is None:
            return str(ipaddress.IPv6Address(int(address) >> 64 << 64))
    return remote


def host_name(host: str) -> str:
    """The name in a Host header, without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def is_loopback(host: str) -> bool:
    """Whether a bound address is reachable from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_direct(request: web.Request) -> bool:
    """No proxy stands between: behind one, everybody seems to be on this machine."""
    headers = request.headers
    return is_loopback(request.remote or "") and not any(
        name in headers for name in FORWARDING_HEADERS
    )


def check_media(request: web.Request, allowed: tuple[str, ...]) -> str:
    """The body's media type, one of `allowed`. Raises `MediaTypeUnsupported`."""
    media = request.content_type if "Content-Type" in request.headers else "nothing"
    if media not in allowed or "Content-Encoding" in request.headers:
        given = f"{media} {request.headers.get('Content-Encoding', '')}".rstrip()
        raise MediaTypeUnsupported(given=given[:100], allowed=", ".join(allowed))
    return media
