"""Answers: JSON from message types, encoded once, and the pieces that several routes share."""

import msgspec
from aiohttp import web

from chaind.api.bodies import hex_bytes
from chaind.api.forms import Forms, TransactionForm, maybe
from chaind.node.queries import ActivityInfo, BlockInfo
from chaind.primitives.amounts import format_amount
from chaind.primitives.errors import Malformed
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import HASH_BYTES, ZERO_HASH, display_hash
from chaind.primitives.transaction import NATIVE, Transaction
from chaind.primitives.votes import Certificate

JSON_MEDIA = "application/json"
NDJSON_MEDIA = "application/x-ndjson"
MSGPACK_MEDIA = "application/msgpack"
HEX_ID = "^[0-9a-fA-F]{64}$"  # as a pattern of JSON Schema
TX_IDS_SHOWN_MAX = 100  # of a block in a list; the block itself pages through all

encode_json = msgspec.json.Encoder().encode


class TxidInvalid(Malformed):
    code = "txid-invalid"
    text = "{given!r} is not a transaction id"
    advice = "Give 64 hex digits."


class Answer(msgspec.Struct, frozen=True):
    """A JSON object that a route answers."""


def respond(
    value: object, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """The answer of a value."""
    return web.Response(
        body=encode_json(value) + b"\n", status=status, headers=headers, content_type=JSON_MEDIA
    )


def parse_txid(text: str) -> bytes:
    """32 bytes of a transaction id. Raises `TxidInvalid`."""
    return hex_bytes(text, HASH_BYTES, lambda: TxidInvalid(given=text[:80]))


class CertificateForm(Answer, frozen=True):
    """Votes that prove a block final. `encoded` is the canonical MessagePack, to verify them by."""

    height: int
    view: int
    kind: str
    block_hash: str | None
    signers: list[int]
    encoded: str


def certificate_form(height: int, certificate: Certificate) -> CertificateForm:
    """The form of the certificate of the block at `height`."""
    return CertificateForm(
        height=height,
        view=certificate.view,
        kind=certificate.kind.name,
        block_hash=maybe(display_hash, certificate.block),
        signers=certificate.voters(),
        encoded=certificate.encode().hex(),
    )


class TransactionItem(Answer, frozen=True):
    """A transaction in a list."""

    tx_id: str
    size: int
    transaction: TransactionForm


def transaction_item(forms: Forms, transaction: Transaction) -> TransactionItem:
    """The list form of a transaction."""
    return TransactionItem(
        transaction.txid.hex(), transaction.size, forms.transaction_to_json(transaction)
    )


class BlockSummary(Answer, frozen=True, kw_only=True):
    """A block's header and commitment, and its first ids. `header` is the 80 bytes in hex."""

    height: int
    hash: str
    previous_hash: str
    merkle_root: str
    version: int
    bits: str
    nonce: int
    timestamp: int
    time_ms: int
    header: str
    view: int
    proposer: str | None
    final: bool
    transaction_count: int
    tx_ids: list[str]


def block_summary(forms: Forms, info: BlockInfo) -> BlockSummary:
    """The summary of a block."""
    block = info.block
    header, commitment = block.header, block.commitment
    return BlockSummary(
        height=info.height,
        hash=display_hash(info.hash),
        previous_hash=display_hash(header.parent),
        merkle_root=display_hash(header.merkle_root),
        version=header.version,
        bits=f"{header.bits:08x}",
        nonce=header.nonce,
        timestamp=header.time,
        time_ms=block.time_ms,
        header=block.header_bytes.hex(),
        view=commitment.view,
        proposer=maybe(forms.show, commitment.proposer),
        final=info.final,
        transaction_count=len(block.transactions),
        tx_ids=[item.txid.hex() for item in block.transactions[:TX_IDS_SHOWN_MAX]],
    )


def genesis_summary(genesis: Genesis) -> BlockSummary:
    """Block 0, which has a header but no body: its Merkle root commits to the genesis file."""
    header = genesis.header()
    return BlockSummary(
        height=0,
        hash=display_hash(genesis.hash),
        previous_hash=display_hash(ZERO_HASH),
        merkle_root=display_hash(header.merkle_root),
        version=header.version,
        bits=f"{header.bits:08x}",
        nonce=header.nonce,
        timestamp=header.time,
        time_ms=genesis.time_ms,
        header=header.encode().hex(),
        view=0,
        proposer=None,
        final=True,
        transaction_count=0,
        tx_ids=[],
    )


class ActivityForm(Answer, frozen=True, kw_only=True):
    """What a final transaction meant to an address.

    `changes` are signed; `amount` is what was sent or received of `asset`, the fee not counted.
    `memo` is text where it is UTF-8, and `memo_hex` the bytes.
    """

    tx_id: str
    direction: str
    asset: str
    amount: str
    fee: str
    counterparties: list[str]
    changes: dict[str, str]
    memo: str | None
    memo_hex: str
    height: int
    time_ms: int
    status: str


def activity_form(forms: Forms, info: ActivityInfo) -> ActivityForm:
    """The form of a history entry. What a payer sent is what it lost beyond the fee."""
    native = forms.symbol(NATIVE)
    net = dict(info.changes)
    if info.coin_change:
        net[native] = net.get(native, 0) + info.coin_change
    # Whoever pays in another asset loses native units as well, but only for the fee.
    moved = {asset: units for asset, units in net.items() if asset != native and units}
    own = net.get(native, 0) + info.fee
    if own or not moved:
        moved[native] = own
    asset, units = next(iter(moved.items()))
    try:
        memo: str | None = info.memo.decode("utf-8")
    except UnicodeDecodeError:
        memo = None
    return ActivityForm(
        tx_id=info.txid.hex(),
        direction="received" if units > 0 else "sent" if units < 0 else "self",
        asset=asset,
        amount=format_amount(abs(units)),
        fee=format_amount(info.fee),
        counterparties=[forms.show(address) for address in info.counterparties],
        changes={symbol: format_amount(change) for symbol, change in net.items()},
        memo=memo,
        memo_hex=info.memo.hex(),
        height=info.height,
        time_ms=info.time_ms,
        status="final",
    )
