"""getblocktemplate and submitblock (BIP-22, BIP-23): the forms around `chaind.node.gbt`.

Transaction 1 of every block is the commitment, so the first of `transactions` is it, and required.
There is no witness commitment: `txid` and `hash` are the Merkle leaf, and `rules` has no segwit.
"""

from typing import Any

import msgspec
import structlog
from msgspec import UNSET, UnsetType

from chaind.api.answers import Answer
from chaind.api.bodies import hex_bytes
from chaind.api.guards import client_of
from chaind.api.rpc_call import Method, RpcCall
from chaind.api.rpc_errors import RpcCode, RpcRefused, reason_of
from chaind.node.block_hex import BlockUnreadable
from chaind.node.gbt import (
    EXPIRES_S,
    ClockTooSlow,
    GbtClosed,
    HeadersMissing,
    LongpollsFull,
    NoPeers,
    Offer,
)
from chaind.node.miner_work import payee_of, why_unpaid
from chaind.primitives.block import BLOCK_VERSION
from chaind.primitives.codec import NonCanonical, Undecodable
from chaind.primitives.coinbase import TAG
from chaind.primitives.errors import ChaindError, LocalFault
from chaind.primitives.hashes import display_hash
from chaind.primitives.work import target_of

COUNTER_BYTES = 8
MUTABLE = ["time", "transactions", "coinbase/append", "submit/coinbase"]
CAPABILITIES = ["longpoll", "workid"]
NONCE_RANGE = "00000000ffffffff"

log = structlog.get_logger("chaind.mining")


class CoinbaseForm(Answer, frozen=True):
    """A coinbase that is ready, or may be appended to."""

    data: str


class BlockTemplate(Answer, frozen=True, kw_only=True):
    """What getblocktemplate answers."""

    capabilities: list[str]
    version: int
    rules: list[str]
    vbavailable: dict[str, int]
    vbrequired: int
    mutable: list[str]
    previousblockhash: str
    transactions: msgspec.Raw
    coinbaseaux: dict[str, str]
    coinbasetxn: CoinbaseForm | UnsetType = UNSET
    coinbasevalue: int
    longpollid: str
    workid: str
    target: str
    bits: str
    mintime: int
    curtime: int
    noncerange: str
    height: int
    expires: int


class _Asked(msgspec.Struct, frozen=True):
    """What of a template request means something here."""

    mode: str = "template"
    longpollid: str = ""


class _Submitted(msgspec.Struct, frozen=True):
    workid: str | None = None


async def get_block_template(call: RpcCall) -> BlockTemplate:
    """A template on the tip; with `longpollid` once there is another than that of the id."""
    asked = _convert(call.params[0] if call.params else {}, _Asked)
    if asked.mode != "template":
        raise RpcRefused(RpcCode.INVALID_PARAMETER, f"mode {asked.mode[:40]!r} is not served")
    payee = _payee(call)
    try:
        if asked.longpollid:
            await call.gbt.wait(asked.longpollid, client_of(call.request.remote or ""))
        return _template(call, call.gbt.offer(), payee)
    except NoPeers as error:
        raise RpcRefused(RpcCode.NOT_CONNECTED, f"{error}. {error.advice}") from None
    except HeadersMissing as error:
        raise RpcRefused(RpcCode.IN_INITIAL_DOWNLOAD, f"{error}. {error.advice}") from None
    except (ClockTooSlow, LongpollsFull, GbtClosed) as error:
        raise RpcRefused(RpcCode.MISC, f"{error}. {error.advice}") from None


def _payee(call: RpcCall) -> bytes | None:
    """Whom the coinbase pays; None for those who make their own."""
    assert call.api.miners is not None
    if call.who in call.api.miners.self_paid:
        return None
    resolve = call.api.node.payments.resolve
    payee = payee_of(call.who, resolve)
    if payee is None:
        raise RpcRefused(
            RpcCode.INVALID_ADDRESS,
            f"the name {call.who[:80]!r} is no ADDRESS or ADDRESS.WORKER of this chain, no account "
            f"of this node, and not among [miner] rpc_self_paid: {why_unpaid(call.who, resolve)}",
        )
    return payee


def _template(call: RpcCall, offer: Offer, payee: bytes | None) -> BlockTemplate:
    plan = offer.plan
    mark = TAG + call.gbt.salt + offer.number.to_bytes(COUNTER_BYTES, "big")
    return BlockTemplate(
        capabilities=CAPABILITIES,
        version=BLOCK_VERSION,
        rules=[],
        vbavailable={},
        vbrequired=0,
        mutable=MUTABLE,
        previousblockhash=display_hash(plan.parent),
        transactions=call.api.plan_forms.of(offer),
        # Clients that make their own coinbase would repeat each other's work without it.
        coinbaseaux={"flags": mark.hex()} if payee is None else {},
        coinbasetxn=UNSET if payee is None else CoinbaseForm(plan.coinbase(payee, mark).hex()),
        coinbasevalue=plan.due,
        longpollid=offer.news_id,
        workid=offer.id,
        target=f"{target_of(plan.bits):064x}",
        bits=f"{plan.bits:08x}",
        mintime=plan.time_min,
        curtime=offer.time,
        noncerange=NONCE_RANGE,
        height=plan.height,
        expires=int(EXPIRES_S),
    )


async def submit_block(call: RpcCall) -> str | None:
    """None for a block that was taken, else why not."""
    text = call.params[0] if call.params else None
    if not isinstance(text, str):
        raise RpcRefused(RpcCode.TYPE_ERROR, "submitblock takes the block in hex")
    asked = _convert(call.params[1] if len(call.params) > 1 else {}, _Submitted)
    try:
        data = hex_bytes(text, None, lambda: BlockUnreadable(reason="it is not hex"))
        await call.gbt.submit(data, asked.workid, call.who)
    except (BlockUnreadable, Undecodable, NonCanonical) as error:
        raise RpcRefused(RpcCode.DESERIALIZATION, f"Block decode failed: {error}") from None
    except LocalFault:
        raise
    except ChaindError as error:
        reason = reason_of(error)
        log.info("block_refused", worker=call.who, reason=reason, error=str(error))
        return reason
    return None


def _convert(value: Any, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise RpcRefused(RpcCode.TYPE_ERROR, str(error)) from None


RPC_MINING: dict[str, Method] = {
    "getblocktemplate": get_block_template,
    "submitblock": submit_block,
}
