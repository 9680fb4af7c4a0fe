"""Miners: real headers with real nonces, found at times that the seed draws.

A miner of so many hashes a second needs a time for its next block that is exponentially
distributed, whatever it worked on before. The nonce is then searched for in earnest: targets are
easy enough for that.
"""

import asyncio
import hashlib
from random import Random

from chaind.consensus.pow.errors import TimeTooNew
from chaind.node.node import Node
from chaind.node.template_book import BlockStale, TemplateUnknown
from chaind.node.work_engine import WorkEngine
from chaind.primitives.block import Block
from chaind.primitives.errors import ChaindError, NotReady
from chaind.primitives.work import target_of, work_of
from chaind.simulation.pow_checks import PowChecks
from chaind.simulation.program import Program
from chaind.simulation.world import World
from chaind.storage.errors import DiskDenied, DiskFailed, DiskFull

SLICE_S = 0.5  # after which a miner that found nothing looks at the difficulty again
PAUSE_S = 0.2  # of one whose node gives out no work
SLOW_SHARE = 0.05  # of blocks whose worker hands them in late
SLOW_S = (0.2, 1.5)
NONCE_AT = 76  # in a header
DISK_FAULTS = (DiskFailed, DiskFull, DiskDenied)


def solve(header: bytes, target: int) -> bytes:
    """The header with a nonce that does its work."""
    begun = hashlib.sha256(header[:NONCE_AT])
    sha256, number = hashlib.sha256, int.from_bytes
    for nonce in range(1 << 32):
        tried = begun.copy()
        tail = nonce.to_bytes(4, "little")
        tried.update(tail)
        if number(sha256(tried.digest()).digest(), "little") <= target:
            return header[:NONCE_AT] + tail
    raise AssertionError("no nonce does it")


def work_engine(node: Node) -> WorkEngine:
    """The engine of a node on a mined chain."""
    assert isinstance(node.engine, WorkEngine)
    return node.engine


def gives_work(node: Node) -> bool:
    """Whether a node gives out templates: not while it syncs, or has lost all its peers."""
    alone = node.config.network.peers and not node.network.peers()
    return not (node._stop_wanted.is_set() or work_engine(node).syncing or alone)


class Miner:
    """One miner at its node. `rate` is in hashes a second, `address` is paid."""

    slice_s = SLICE_S

    def __init__(
        self,
        *,
        world: World,
        program: Program,
        checks: PowChecks,
        address: bytes,
        rate: float,
        rng: Random,
    ) -> None:
        self._world = world
        self._program = program
        self._checks = checks
        self._address = address
        self._rate = rate
        self._rng = rng

    async def run(self, node: Node) -> None:
        """Block after block, for as long as the node runs."""
        while True:
            if not gives_work(node):
                await asyncio.sleep(PAUSE_S)
                continue
            wait_s = self._rng.expovariate(self._rate / self._hashes(node))
            await asyncio.sleep(min(wait_s, self.slice_s))
            if not gives_work(node):
                continue
            self._look(node)
            if wait_s <= self.slice_s:
                await self._found(node)

    def _look(self, node: Node) -> None:
        """Honest miners look at nothing but their template."""

    def _hashes(self, node: Node) -> int:
        """How many it takes in the mean to find the next block."""
        tree = work_engine(node).tree
        head = tree.get(node.chain.head.hash)
        assert head is not None, "what is executed stands in the tree"
        return work_of(target_of(tree.next_bits(head)))

    async def _found(self, node: Node) -> None:
        assert node.templates is not None
        try:
            name, template = node.templates.issue(self._address)
        except NotReady:
            return  # bodies are being fetched
        begun_ms = node.clock.now_ms()
        header = solve(template.header_bytes, target_of(template.header.bits))
        self._checks.mined(self._program, header)
        if self._rng.random() < SLOW_SHARE:
            await asyncio.sleep(self._rng.uniform(*SLOW_S))
        try:
            block = await node.templates.submit(name, header)
        except (BlockStale, TemplateUnknown):
            self._world.point("stale work refused")
        except DISK_FAULTS:
            self._world.point("a block lost with its miner's disk")
        except ChaindError as error:
            if isinstance(error, TimeTooNew) and node.clock.now_ms() < begun_ms:
                self._world.point("a block lost to a clock that was set back")
            elif not node._stop_wanted.is_set():
                self._fail(template, error)
        else:
            self._world.point("block mined")
            self._world.trace.note(self._program.machine.name, f"mined {block.height}")

    def _fail(self, template: Block, error: ChaindError) -> None:
        name = self._program.machine.name
        self._world.fail(f"{name} refuses its own block {template.height}: {error}")
