"""What mining software asks of bitcoind beside work: where the chain stands, what addresses are."""

from msgspec import UNSET, UnsetType

from chaind.api.answers import Answer
from chaind.api.rpc_call import Method, RpcCall
from chaind.api.rpc_errors import RpcCode, RpcRefused
from chaind.miner.jobs import DIFFICULTY_1
from chaind.node.mining_view import network_rate
from chaind.node.work_engine import WorkEngine
from chaind.primitives.address import POLICY_ADDRESS_BYTES, AddressInvalid
from chaind.primitives.coinbase import address_script
from chaind.primitives.hashes import display_hash
from chaind.primitives.work import target_of


class MiningInfo(Answer, frozen=True, kw_only=True):
    """What getmininginfo answers; `difficulty` and `bits` are of the next block."""

    blocks: int
    bits: str
    difficulty: float
    target: str
    networkhashps: float
    pooledtx: int
    chain: str
    warnings: list[str]


class AddressInfo(Answer, frozen=True, kw_only=True):
    """What validateaddress answers."""

    isvalid: bool
    address: str
    scriptPubKey: str | UnsetType = UNSET
    isscript: bool | UnsetType = UNSET
    iswitness: bool | UnsetType = UNSET
    error: str | UnsetType = UNSET


async def get_mining_info(call: RpcCall) -> MiningInfo:
    """Where the chain stands, for miners."""
    node = call.api.node
    engine = node.engine
    assert isinstance(engine, WorkEngine)
    target = target_of(engine.next_block.header().bits)
    rate = network_rate(engine.tree, node.store, engine.tip_hash)
    return MiningInfo(
        blocks=node.chain.head.height,
        bits=f"{engine.next_block.header().bits:08x}",
        difficulty=DIFFICULTY_1 / target,
        target=f"{target:064x}",
        networkhashps=0.0 if rate is None else rate.hashes_per_second,
        pooledtx=len(node.pool),
        chain=node.genesis.name,
        warnings=list(node.vitals.health().reasons),
    )


async def validate_address(call: RpcCall) -> AddressInfo:
    """Whether a text is an address of this chain, and its script."""
    text = call.params[0] if call.params else None
    if not isinstance(text, str):
        raise RpcRefused(RpcCode.TYPE_ERROR, "validateaddress takes an address")
    addresses = call.api.node.genesis.addresses
    try:
        address = addresses.parse(text)
    except AddressInvalid as error:
        return AddressInfo(isvalid=False, address=text[:100], error=str(error))
    return AddressInfo(
        isvalid=True,
        address=addresses.show(address),
        scriptPubKey=address_script(address).hex(),
        isscript=len(address) == POLICY_ADDRESS_BYTES,
        iswitness=len(address) == POLICY_ADDRESS_BYTES,
    )


async def get_block_count(call: RpcCall) -> int:
    """The height of the tip."""
    return call.api.node.chain.head.height


async def get_best_block_hash(call: RpcCall) -> str:
    """The hash of the tip."""
    return display_hash(call.api.node.chain.head.hash)


RPC_READING: dict[str, Method] = {
    "getmininginfo": get_mining_info,
    "validateaddress": validate_address,
    "getblockcount": get_block_count,
    "getbestblockhash": get_best_block_hash,
}
