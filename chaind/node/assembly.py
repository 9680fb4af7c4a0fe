"""Parts of a node that are made of settings and genesis: who votes, pool, network, core, faucet.

Law: nothing here runs or remembers. What a part says to the others, `node` ties together.
"""

from chaind import __version__
from chaind.consensus.core import Timing
from chaind.consensus.quorums import Quorums
from chaind.consensus.simplex import Simplex
from chaind.mempool.pool import Pool, PoolLimits
from chaind.network.manager import NetworkConfig
from chaind.network.peers import parse_address
from chaind.node.chain import Chain
from chaind.node.clock import Clock
from chaind.node.config import Config
from chaind.node.faucet import Faucet
from chaind.node.queries import Queries
from chaind.node.rules import EPOCH
from chaind.primitives.genesis import Genesis
from chaind.primitives.keys import SecretKey
from chaind.primitives.votes import VoteKind, vote_digest
from chaind.wallet.derivation import faucet_key


class Voters:
    """The validators of a genesis, in its order. `quorums` is None where miners make the blocks."""

    def __init__(self, genesis: Genesis) -> None:
        self.keys = [validator.key for validator in genesis.validators]
        weights = [validator.weight for validator in genesis.validators]
        self.quorums = None if genesis.mode == "pow" else Quorums(weights)
        self._addresses = [validator.address for validator in genesis.validators]

    def index_of(self, secret: SecretKey | None) -> int | None:
        """Which of them has this key."""
        return self.keys.index(secret.public) if secret and secret.public in self.keys else None

    def leader(self, view: int) -> int:
        """Round robin: every validator leads as often, whatever its weight."""
        return view % len(self.keys)

    def leader_address(self, view: int) -> bytes:
        """Who is paid for the block of this view."""
        return self._addresses[self.leader(view)]


def make_pool(config: Config, genesis: Genesis) -> Pool:
    """The pool within the bounds of [mempool]."""
    bounds = config.mempool
    limits = PoolLimits(
        bounds.transactions_max,
        bounds.bytes_max,
        bounds.owner_transactions_max,
        bounds.owner_bytes_max,
        genesis.parameters.open_orders_max,
    )
    show, at_head = genesis.addresses.show, genesis.mode == "pow"
    return Pool(limits, genesis.native_symbol, show, at_head=at_head)


def network_config(config: Config) -> NetworkConfig:
    """[network], as that room takes it: a quarter of the seats is for peers that we call."""
    network = config.network
    outbound = max(1, network.max_peers // 4)
    return NetworkConfig(
        host=network.host,
        port=network.p2p_port,
        persistent=tuple(parse_address(text) for text in network.peers),
        inbound_max=max(1, network.max_peers - outbound),
        outbound_max=outbound,
        agent=f"chaind/{__version__}",
    )


def make_core(
    genesis: Genesis,
    voters: Voters,
    quorums: Quorums,
    chain: Chain,
    *,
    me: int | None,
    secret: SecretKey | None,
) -> Simplex:
    """The consensus core, from the last final block on. `me` is None for who does not vote."""
    chain_hash, parameters = genesis.hash, genesis.consensus

    def sign(kind: VoteKind, view: int, block: bytes | None) -> bytes:
        assert secret is not None, "an observer never signs"
        return secret.sign(vote_digest(chain_hash, EPOCH, view, kind, block))

    return Simplex(
        epoch=EPOCH,
        quorums=quorums,
        me=me,
        final_hash=chain.final.hash,
        final_view=chain.final.view,
        timing=Timing(
            delta_ms=parameters.delta_ms,
            block_budget_ms=parameters.block_budget_ms,
            empty_block_interval_ms=parameters.empty_block_interval_ms,
        ),
        leader=voters.leader,
        sign=sign,
    )


def make_faucet(config: Config, genesis: Genesis, queries: Queries, clock: Clock) -> Faucet:
    """The faucet within the bounds of [faucet]."""
    return Faucet(
        key=faucet_key(),
        section=config.faucet,
        history=queries,
        is_open=queries.is_open,
        clock=clock,
        show=genesis.addresses.show,
    )
