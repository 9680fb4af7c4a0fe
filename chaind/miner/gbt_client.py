"""The miner's end of getblocktemplate (BIP-22, BIP-23), without sockets: templates in, blocks out.

Law: the coinbase is made here, so that a node can neither pay another nor repeat work; hashes are
taken from bytes, never from what a node says of them. A template that cannot be used is a
`TemplateFault`. Hashes are raw digests, times Unix seconds.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from chaind.miner.jobs import coinbase_branch
from chaind.primitives.coinbase import (
    SCRIPT_SIG_BYTES,
    TAG,
    compact_size,
    encode_coinbase,
    push_height,
)
from chaind.primitives.errors import Malformed, PeerFault
from chaind.primitives.hashes import HASH_BYTES, sha256d

CAPABILITIES = ("coinbasevalue", "longpoll", "workid")
EXTRANONCE_BYTES = 8
HEIGHT_MAX = 1 << 31
_STALE = frozenset({"stale-prevblk", "stale-work", "duplicate", "inconclusive", "unknown-work"})


class TemplateFault(Malformed, PeerFault):
    """What a node gives out as work is none."""

    code = "template-fault"
    text = "the node's template cannot be mined: {reason}"
    advice = "Check --url: it has to name a node of chaind's API, or one that speaks BIP-22."


class NodeRefusal(Malformed, PeerFault):
    """The node does not want this miner."""

    code = "node-refusal"
    text = "{url} refuses {what}: {reason}"
    advice = "Check --url, --address, and the name and secret that were given."


class GbtWork(NamedTuple):
    """A template with a coinbase that pays `script`. `short`: the coinbase is all that is sent."""

    parent: bytes
    height: int
    version: int
    bits: int
    time: int
    target: int
    script: bytes
    value: int
    aux: bytes
    branch: tuple[bytes, ...]
    transactions: tuple[bytes, ...]
    longpollid: str
    workid: str | None
    short: bool

    def coinbase(self, extranonce: bytes) -> bytes:
        """The coinbase of one extranonce."""
        extra = self.aux + TAG + extranonce
        outputs = ((self.script, self.value),) if self.value else ()
        return encode_coinbase(self.height, extra, outputs)

    def prefix(self, extranonce: bytes) -> bytes:
        """The header without its nonce, 76 bytes."""
        root = sha256d(self.coinbase(extranonce))
        for sibling in self.branch:
            root = sha256d(root + sibling)
        head = struct.pack("<I", self.version) + self.parent + root
        return head + struct.pack("<II", self.time, self.bits)

    def submission(self, extranonce: bytes, nonce: int) -> list[object]:
        """The parameters of submitblock."""
        header = self.prefix(extranonce) + struct.pack("<I", nonce)
        block = header + compact_size(1 + len(self.transactions)) + self.coinbase(extranonce)
        if not self.short:
            block += b"".join(self.transactions)
        named = {} if self.workid is None else {"workid": self.workid}
        return [block.hex(), named] if named else [block.hex()]


class _Transaction(msgspec.Struct):
    data: str


class _Template(msgspec.Struct):
    version: int
    previousblockhash: str
    transactions: list[_Transaction]
    coinbasevalue: int
    bits: str
    target: str
    curtime: int
    height: int
    longpollid: str = ""
    workid: str | None = None
    mutable: list[str] = []
    rules: list[str] = []
    coinbaseaux: dict[str, str] = {}


def parse_template(answer: object, script: bytes) -> GbtWork:
    """Work that pays a script. Raises `TemplateFault`."""
    try:
        given = msgspec.convert(answer, _Template)
    except msgspec.ValidationError as error:
        raise TemplateFault(reason=str(error)) from None
    if any("segwit" in rule for rule in given.rules):
        raise TemplateFault(reason="it asks for a witness commitment (BIP-141)")
    words = (given.version, given.curtime)
    if not all(0 <= word < 1 << 32 for word in words) or not 0 < given.height < HEIGHT_MAX:
        raise TemplateFault(reason="version, time or height is out of range")
    if not 0 <= given.coinbasevalue < 1 << 63:
        raise TemplateFault(reason="coinbasevalue is out of range")
    transactions = tuple(_bytes(one.data, "a transaction") for one in given.transactions)
    aux = b"".join(_bytes(text, "coinbaseaux") for text in given.coinbaseaux.values())
    signature = len(push_height(given.height)) + len(aux) + len(TAG) + EXTRANONCE_BYTES
    if signature > SCRIPT_SIG_BYTES[1]:
        raise TemplateFault(reason=f"coinbaseaux of {len(aux)} bytes leaves no room")
    return GbtWork(
        parent=_exactly(given.previousblockhash, HASH_BYTES, "previousblockhash")[::-1],
        height=given.height,
        version=given.version,
        bits=int.from_bytes(_exactly(given.bits, 4, "bits"), "big"),
        time=given.curtime,
        target=int.from_bytes(_exactly(given.target, HASH_BYTES, "target"), "big"),
        script=script,
        value=given.coinbasevalue,
        aux=aux,
        branch=_branch(transactions),
        transactions=transactions,
        longpollid=given.longpollid,
        workid=given.workid,
        short="submit/coinbase" in given.mutable and given.workid is not None,
    )


def is_stale(reason: str) -> bool:
    """Whether a block came too late, rather than broke a rule."""
    return reason.startswith("duplicate-") or reason in _STALE


def _branch(transactions: Sequence[bytes]) -> tuple[bytes, ...]:
    return coinbase_branch([bytes(HASH_BYTES), *map(sha256d, transactions)])


def _bytes(text: str, name: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise TemplateFault(reason=f"{name} is not hex") from None


def _exactly(text: str, length: int, name: str) -> bytes:
    data = _bytes(text, name)
    if len(data) != length:
        raise TemplateFault(reason=f"{name} is not {length} bytes")
    return data
