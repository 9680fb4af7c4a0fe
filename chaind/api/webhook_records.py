"""Subscriptions on disk: a file each in the node's home, readable by its owner alone.

Law: a file is replaced whole, and only after what it says has happened; a file that cannot be read
stops the node's start, since leaving it out would lose events in silence.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from chaind.api.webhook_targets import WebhookUrlInvalid, read_url
from chaind.node.movements import Kind, Position, Selection
from chaind.primitives.errors import LocalFault
from chaind.storage.files import Files

RECORD_BYTES_MAX = 1 << 20  # a thousand dead letters and room
_NAME = re.compile(r"([0-9a-f]{16})\.json")


class WebhookFileInvalid(LocalFault):
    """A subscription's file that this node did not write."""

    code = "webhook-file-invalid"
    text = "{path} holds no webhook subscription"
    advice = "Put it back from a copy, or remove it and subscribe again from the cursor you know."
    exit_code = 78  # EX_CONFIG


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was given up. `due` while it is to be tried once more."""

    id: str
    reason: str
    failed_ms: int
    due: bool = False


class Record(msgspec.Struct, kw_only=True):
    """One subscription, and how far it has come.

    `cursor` is where the next event is looked for. `failures` counts attempts since the last
    delivery, `failing_since_ms` says when the first one for the present event failed, and
    `retry_at_ms` when the next is due; times are of the wall clock, so that they survive a restart.
    """

    id: str
    url: str
    secret: str
    kinds: tuple[Kind, ...]
    account: str | None  # hex
    asset: str | None
    created_ms: int
    cursor: str
    delivered: int = 0
    last_event_id: str | None = None
    last_delivery_ms: int | None = None
    failures: int = 0
    failing_since_ms: int | None = None
    retry_at_ms: int | None = None
    last_error: str | None = None
    dead: list[DeadLetter] = []

    @property
    def selection(self) -> Selection:
        """Which events it wants."""
        account = bytes.fromhex(self.account) if self.account is not None else None
        return Selection(account, self.asset, self.kinds)

    def encode(self) -> bytes:
        """The content of its file."""
        return msgspec.json.encode(self)

    def __repr__(self) -> str:
        return f"Record({self.id})"  # a default one would show the secret


def read_position(text: str) -> Position:
    """The position that a cursor or an event's id names."""
    height, place, part = map(int, text.split("."))
    return Position(height, place, part)


class Records:
    """The files of one home. Blocking: for a thread, or a start."""

    def __init__(self, files: Files, directory: Path) -> None:
        self._files = files
        self._directory = directory

    def load(self) -> Iterator[Record]:
        """All subscriptions, oldest name first. Raises `WebhookFileInvalid`."""
        if not self._directory.is_dir():
            return
        for name in self._files.list(self._directory):
            found = _NAME.fullmatch(name)
            if found is not None:
                yield self._read(self._directory / name, found[1])

    def _read(self, path: Path, own: str) -> Record:
        try:
            record = msgspec.json.decode(self._files.read(path, 0, RECORD_BYTES_MAX), type=Record)
            read_position(record.cursor)
            for letter in record.dead:
                read_position(letter.id)
            bytes.fromhex(record.account or "")
            read_url(record.url)
        except (msgspec.DecodeError, ValueError, WebhookUrlInvalid):
            raise WebhookFileInvalid(path=path) from None
        if record.id != own:
            raise WebhookFileInvalid(path=path)
        return record

    def write(self, own: str, data: bytes) -> None:
        """Replace the file of a subscription by what `Record.encode` gave, durably."""
        self._files.make_dir(self._directory)
        self._files.write_atomic(self._directory / f"{own}.json", data)

    def rewind(self, height: int) -> Iterator[str]:
        """Let subscriptions that are past the beginning of a height go on from there; which.

        For a stopped node whose chain was taken back.
        """
        start = Position(height, 0, 0)
        for record in list(self.load()):
            if read_position(record.cursor) > start:
                record.cursor = str(start)
                self.write(record.id, record.encode())
                yield record.id

    def remove(self, own: str) -> None:
        """Forget a subscription, durably."""
        self._files.remove(self._directory / f"{own}.json")
        self._files.sync_dir(self._directory)
