"""No message of a stranger ends a node, fills its memory or stops its payments."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import msgspec
import pytest
from harness import FUNDED, Cluster, order, validator_key

from chaind.network import messages as wire
from chaind.network.manager import Network, NetworkConfig
from chaind.network.noise import KeyPair
from chaind.network.peer import Peer
from chaind.network.peers import Address
from chaind.node.node import Node
from chaind.primitives.errors import PeerFault
from chaind.primitives.hashes import sha256
from chaind.primitives.votes import Certificate, CertificateKind, Vote, VoteKind, vote_digest

HUGE = 2**53


class Stranger:
    """A peer that says what it likes, and how the node reacts."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.heard: list[wire.Message] = []
        self.gone = asyncio.Event()
        self.up = asyncio.Event()
        self.peer: Peer | None = None
        self.network = Network(
            NetworkConfig(exchange=False, upkeep_ms=10),
            identity=KeyPair.generate(),
            genesis_hash=cluster.genesis.hash,
            handler=self,
            clock=cluster.clock,
            rng=Random(1),
        )

    def peer_up(self, peer: Peer) -> None:
        self.peer = peer
        self.up.set()

    def peer_down(self, peer: Peer, reason: str) -> None:
        self.gone.set()

    def message(self, peer: Peer, message: wire.Message) -> None:
        self.heard.append(message)

    def say(self, *messages: wire.Message) -> None:
        assert self.peer is not None
        for message in messages:
            self.network.send(self.peer, message)

    async def understood(self) -> None:
        """Wait until the node has worked on all that was said, or has hung up."""
        unheard = os.urandom(32)
        self.say(wire.GetBlock(unheard))
        await self.cluster.until(
            lambda: self.gone.is_set() or wire.BlockData(unheard, None) in self.heard
        )


@asynccontextmanager
async def stranger(cluster: Cluster, node: Node) -> AsyncIterator[Stranger]:
    guest = Stranger(cluster)
    async with asyncio.TaskGroup() as group:
        await guest.network.start(group)
        guest.network.add_peer(Address("127.0.0.1", node.network.port))
        await guest.up.wait()
        try:
            yield guest
        finally:
            await guest.network.stop()


def some_vote(cluster: Cluster, voter: int, view: int, block: bytes | None = None) -> Vote:
    """Rightly signed, whatever it says."""
    digest = vote_digest(cluster.genesis.hash, 1, view, VoteKind.FIRST, block)
    signature = validator_key(voter).sign(digest)
    return Vote(1, view, VoteKind.FIRST, block, voter, signature)


def hostile(cluster: Cluster, node: Node) -> dict[str, list[wire.Message]]:
    tip = node.chain.final
    block = node.queries.block(tip.height)
    assert block is not None
    body = block.block
    stranger_block = os.urandom(32)
    bad = Certificate(
        1, HUGE, CertificateKind.FINAL, stranger_block, b"\x0f", b"", (bytes(64),) * 4
    )
    beyond = Certificate(
        1, 5, CertificateKind.FINAL, stranger_block, b"\0" * 511 + b"\x80", b"", (bytes(64),)
    )
    proposal = wire.Proposal(
        body.header_bytes, body.coinbase_bytes, b"\xc1", (), 0, (),
        some_vote(cluster, 1, node.engine.view + 1, body.hash),
    )  # fmt: skip
    return {
        "ranges of nowhere": [
            wire.GetBlocks(start, count)
            for start, count in ((0, 1), (0, 512), (1, 1), (HUGE, 512), (tip.height + 1, 512))
        ],
        "certificates of nowhere": [
            wire.GetCertificates(1, 0, HUGE),
            wire.GetCertificates(1, HUGE, 0),
            wire.GetCertificates(HUGE, 0, HUGE),
        ],
        "a great height": [wire.Tip(HUGE), wire.Status(1, HUGE, HUGE, bytes(32), HUGE)],
        "another epoch": [wire.Status(HUGE, 1, 0, bytes(32), 0)],
        "no height": [wire.Tip(0), wire.Status(1, 0, 0, bytes(32), 0)],
        "answers to nothing": [
            wire.Blocks(1, (b"x",), None),
            wire.BlockData(stranger_block, b"x"),
            wire.BlockTransactions(stranger_block, (b"x",)),
            wire.Blocks(1, (), bad),
        ],
        "announced and never sent": [
            wire.Announce(tuple(os.urandom(32) for _ in range(wire.ANNOUNCE_IDS_MAX)))
        ],
        "transactions that are none": [wire.Transactions((b"", b"\xc1", os.urandom(200)))],
        "a certificate nobody signed": [wire.Certificates((bad,))],
        "a certificate of voters that do not exist": [wire.Certificates((beyond,))],
        "a vote of a voter who does not exist": [
            wire.Votes((Vote(1, node.engine.view, VoteKind.FIRST, None, 4_095, bytes(64)),))
        ],
        "a vote nobody signed": [
            wire.Votes((Vote(1, node.engine.view + 1, VoteKind.FIRST, None, 1, bytes(64)),))
        ],
        "a vote of long ago and one of far ahead": [
            wire.Votes((some_vote(cluster, 1, 1), some_vote(cluster, 1, HUGE)))
        ],
        "a proposal of garbage": [proposal],
    }


NAMES = (
    "ranges of nowhere",
    "certificates of nowhere",
    "a great height",
    "another epoch",
    "no height",
    "answers to nothing",
    "announced and never sent",
    "transactions that are none",
    "a certificate nobody signed",
    "a certificate of voters that do not exist",
    "a vote of a voter who does not exist",
    "a vote nobody signed",
    "a vote of long ago and one of far ahead",
    "a proposal of garbage",
)


async def test_no_message_of_a_stranger_ends_a_node(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=1) as cluster:
        node = cluster[0]
        await node.payments.transfer(order("alice", "bob", 1, key="before"))
        assert set(hostile(cluster, node)) == set(NAMES)
        for name in NAMES:
            async with stranger(cluster, node) as guest:
                guest.say(*hostile(cluster, node)[name])
                await guest.understood()
            cluster.check()
            paid = await node.payments.transfer(order("alice", "bob", 1, key=name))
            assert paid.info.status == "final", name
        await cluster.until(lambda: node.vitals.health().ready)


async def test_a_boaster_does_not_make_a_node_unready_for_long(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=1) as cluster:
        await cluster.height(1)
        async with stranger(cluster, cluster[0]) as guest:
            guest.say(wire.Tip(HUGE))
            await cluster.until(lambda: not cluster[0].vitals.health().ready)
            await cluster.until(lambda: [m for m in guest.heard if isinstance(m, wire.GetBlocks)])
            guest.say(wire.Blocks(1, (), None))
            await cluster.until(lambda: cluster[0].vitals.health().ready)


async def test_an_answer_is_no_longer_than_a_block_can_be(tmp_path: Path) -> None:
    """However often and however much is asked for: one frame, or the node would fall over it."""
    async with Cluster(
        tmp_path,
        validators=4,
        parameters={"transaction_bytes_max": 3_000, "block_bytes_max": 3_000},
    ) as cluster:
        await cluster.connected()
        await cluster.stop(2, 3)
        payments = [cluster.payment("alice", "bob", 1, memo=bytes(200)) for _ in range(20)]
        await cluster.submit(*payments)
        wtxids = tuple(payment.wtxid for payment in payments)
        async with stranger(cluster, cluster[0]) as guest:
            guest.say(wire.GetBlockTransactions(bytes(32), wtxids * 3))
            guest.say(wire.GetBlockTransactions(bytes(32), wtxids[:1] * wire.IDS_MAX))
            await guest.understood()
            many, one = [m for m in guest.heard if isinstance(m, wire.BlockTransactions)]
        assert len(set(many.raws)) == len(many.raws) > 1
        assert sum(map(len, many.raws)) <= 3_000
        assert one.raws == (payments[0].raw,)


def relayed_lie(honest: wire.Proposal) -> dict[str, Callable[[], wire.Proposal]]:
    return {
        "coinbase": lambda: msgspec.structs.replace(honest, coinbase=honest.coinbase + b"\0"),
        "wtxids": lambda: msgspec.structs.replace(honest, wtxids=(sha256(b"no such"),)),
    }


@pytest.mark.parametrize("part", ["coinbase", "wtxids"])
async def test_a_leader_s_words_twisted_by_a_stranger_halt_nobody(
    tmp_path: Path, part: str
) -> None:
    """A proposal's signature covers its header alone. A stranger hears it first, changes what the
    signature does not cover, and tells a validator that has not heard it yet."""
    async with Cluster(tmp_path, validators=4) as cluster:
        await cluster.connected()
        victim = cluster[3]
        twisted = 0
        genuine = victim.engine.on_proposal

        def first_the_lie(peer: Peer, message: wire.Proposal) -> None:
            nonlocal twisted
            twisted += 1
            with suppress(PeerFault):  # the network would punish the sender
                genuine(peer, relayed_lie(message)[part]())
            genuine(peer, message)

        victim.engine.on_proposal = first_the_lie  # type: ignore[method-assign]
        for number in range(4):
            paid = await cluster[0].payments.transfer(order("alice", "bob", 1, key=f"k{number}"))
            assert paid.info.status == "final"
        assert twisted
        await cluster.agree()
        assert cluster.balances("bob") == [FUNDED + 4] * 4
