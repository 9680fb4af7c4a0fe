"""Who may ask for work over JSON-RPC: HTTP Basic, by the cookie of this start or a password.

The name says who is paid: see `self_paid`. Whoever has the secret may use any name.
"""

import base64
import binascii
import hmac
import secrets
from typing import NamedTuple

from aiohttp import web

from chaind.api.guards import TOKEN_BYTES, named_token
from chaind.api.problems import CredentialsNeeded
from chaind.node.config import MinerSection
from chaind.node.home import Home
from chaind.storage.files import OsFiles

COOKIE_NAME = "__cookie__"  # bitcoind's
CREDENTIALS_CHARS_MAX = 4_096
NAME_CHARS_MAX = 256


class MinerAccess:
    """The secrets that open this door, and the names of those who pay themselves."""

    def __init__(self, secret: str, password: str | None, self_paid: tuple[str, ...]) -> None:
        self._secrets = [text.encode() for text in (secret, password) if text is not None]
        self.self_paid = frozenset((COOKIE_NAME, *self_paid))

    @classmethod
    def open(cls, section: MinerSection, home: Home) -> "MinerAccess":
        """With a new cookie in the home, readable by its owner alone.

        Raises `SettingFileAbsent` or `TokenFileInvalid`.
        """
        password = None
        if section.rpc_password_file:
            password = named_token("[miner] rpc_password_file", section.rpc_password_file)
        secret = secrets.token_hex(TOKEN_BYTES)
        OsFiles().write_atomic(home.rpc_cookie, f"{COOKIE_NAME}:{secret}\n".encode())
        return cls(secret, password, section.rpc_self_paid)

    def name_of(self, request: web.Request) -> str:
        """Who asks. Raises `CredentialsNeeded`."""
        given = _parse_basic(request.headers.get("Authorization", ""))
        if given is None:
            raise CredentialsNeeded
        right = [hmac.compare_digest(given.password, secret) for secret in self._secrets]
        if not any(right):
            raise CredentialsNeeded
        return given.name


class _Given(NamedTuple):
    name: str
    password: bytes


def _parse_basic(header: str) -> _Given | None:
    """RFC 7617; None for anything else."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic" or len(text) > CREDENTIALS_CHARS_MAX:
        return None
    try:
        decoded = base64.b64decode(text.strip(), validate=True)
        raw_name, _, password = decoded.partition(b":")
        name = raw_name.decode()
    except (binascii.Error, ValueError):  # not even ASCII, or a name that is no text
        return None
    # It is shown in the log.
    return _Given(name, password) if name.isprintable() and len(name) <= NAME_CHARS_MAX else None
