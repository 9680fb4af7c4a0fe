"""Nodes of a chain of miners in one process: mined with an easy target, cut apart and healed.

async with WorkCluster(tmp_path, nodes=3) as cluster:
    await cluster.mine(at=0, count=5)
    cluster.cut({0}, {1, 2})
"""

from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import msgspec
from harness import Cluster, Secret, address

from chaind.network.peer import Peer
from chaind.node.node import Node
from chaind.node.work_engine import WorkEngine
from chaind.primitives.block import Block
from chaind.primitives.genesis import ProofOfWork
from chaind.primitives.hashes import sha256d
from chaind.primitives.work import WorkParameters, target_of

EASY = 0x207FFFFF  # one hash in two
SUBSIDY = 50 * 10**8
RULES = WorkParameters(
    retarget="asert", limit_bits=EASY, target_spacing_ms=1_000, max_future_ms=7_200_000
)


def mined(template: Block) -> Block:
    """The template with a nonce that does its work."""
    target = target_of(template.header.bits)
    for nonce in range(1 << 32):
        header = msgspec.structs.replace(template.header, nonce=nonce)
        if int.from_bytes(sha256d(header.encode()), "little") <= target:
            return Block(
                header, template.coinbase_bytes, template.commitment_bytes, template.transactions
            )
    raise AssertionError("no nonce does it")


def retimed(template: Block, time: int) -> Block:
    """The template with another time in its header."""
    header = msgspec.structs.replace(template.header, time=time)
    return Block(header, template.coinbase_bytes, template.commitment_bytes, template.transactions)


class WorkCluster(Cluster):
    """See the module."""

    def __init__(
        self,
        path: Path,
        *,
        nodes: int = 1,
        final_depth: int = 100,
        minimum: int = 0,
        rules: WorkParameters = RULES,
        **more: Any,
    ) -> None:
        work = ProofOfWork(
            rules=rules,
            start_bits=EASY,
            final_depth=final_depth,
            minimum_chain_work=f"{minimum:x}",
        )
        parameters = {"subsidy_units": SUBSIDY, "coinbase_maturity": 3}
        super().__init__(
            path,
            validators=0,
            full=nodes,
            work=work,
            parameters=parameters,
            exchange=False,
            **more,
        )
        self._groups: tuple[AbstractSet[int], ...] = ()
        self._seats_of: dict[str, int] = {}

    async def __aenter__(self) -> "WorkCluster":
        await super().__aenter__()
        await self.connected()
        return self

    def engine(self, at: int) -> WorkEngine:
        engine = self[at].engine
        assert isinstance(engine, WorkEngine)
        return engine

    async def mine(
        self, *, at: int, count: int = 1, to: Secret = "carol", every_s: int = 0
    ) -> list[Block]:
        """So many blocks on a node's head, each handed in there; `every_s` after one another, as
        their headers say: the slower, the less work each of them takes."""
        blocks = []
        for _ in range(count):
            engine = self.engine(at)
            template, head = (
                engine.next_block.template(address(to)),
                engine.tree.get(engine.tip_hash),
            )
            assert head is not None
            if every_s and head.height:
                template = retimed(template, head.time + every_s)
            block = mined(template)
            await self.engine(at).submit(block)
            assert self[at].chain.head.hash == block.hash
            blocks.append(block)
        return blocks

    async def heads(self, *indices: int) -> bytes:
        """Wait until these nodes (default: all) have one head; its hash."""
        nodes = [self[index] for index in indices] or self.nodes

        def agreed() -> bool:
            return len({node.chain.head.hash for node in nodes}) == 1

        await self.until(agreed)
        return nodes[0].chain.head.hash

    def cut(self, *groups: AbstractSet[int]) -> None:
        """From now on nodes hear only those of their group; of all again where none is given."""
        self._groups = groups
        self._seats_of = {
            seat.node.network.node_id: seat.index for seat in self.seats if seat.node is not None
        }
        for seat in self.seats:
            if seat.node is not None and "message" not in vars(seat.node.router):
                self._gate(seat.index, seat.node)

    def _gate(self, index: int, node: Node) -> None:
        hear = node.router.message

        def message(peer: Peer, what: Any) -> None:
            other = self._seats_of[peer.node_id]
            if all((index in group) == (other in group) for group in self._groups):
                hear(peer, what)

        node.router.message = message  # type: ignore[method-assign]
