"""Reads of a network under faults: what nodes say of blocks and payments, held against itself."""

import threading
import urllib.error
import urllib.request
from random import Random

import msgspec
from local_network import NodeProcess
from payments_under_way import Load

from chaind.primitives.block import Block


class Reader(threading.Thread):
    """Asks all nodes for blocks and payments, and remembers what was said of them."""

    def __init__(self, nodes: list[NodeProcess], load: Load, seed: int) -> None:
        super().__init__(daemon=True)
        self._nodes = nodes
        self._load = load
        self._dice = Random(seed)
        self._hashes: dict[int, bytes] = {}
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self.answers = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        """Until stopped."""
        try:
            while not self._ended.wait(0.02):
                node = self._dice.choice(self._nodes)
                if self._dice.random() < 0.5:
                    self._read_blocks(node)
                else:
                    self._read_payment(node)
        except BaseException as error:
            self._failure = error
            raise

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        if self.is_alive():
            self.join()

    def check(self) -> None:
        """Raise what ended the thread."""
        if self._failure is not None:
            raise AssertionError("the reader failed") from self._failure

    def _read_blocks(self, node: NodeProcess) -> None:
        top = max(self._hashes, default=1)
        start = self._dice.randint(1, top)
        for raw in raw_blocks(node, start, 20) or ():
            self.answers += 1
            block = Block.decode(raw)
            if self._hashes.setdefault(block.height, block.hash) != block.hash:
                self.wrong.append(f"{node.home.name}: another block {block.height}")

    def _read_payment(self, node: NodeProcess) -> None:
        ids = self._load.newest_answered(2_000)
        if not ids:
            return
        txid = self._dice.choice(ids)
        answer = node.get(f"/api/v1/transactions/{txid}")
        if answer is None or "status" not in answer:
            return
        self.answers += 1
        # Nothing here conflicts and nothing expires: whoever says otherwise is wrong.
        if answer["status"] in ("rejected", "replaced", "expired"):
            self.wrong.append(f"{node.home.name}: {txid} is {answer['status']}")


def raw_blocks(node: NodeProcess, start: int, limit: int) -> list[bytes] | None:
    """A page of blocks; None where the node does not answer, or says that it cannot."""
    path = f"{node.url}/api/v1/blocks/raw?start={start}&limit={limit}"
    try:
        with urllib.request.urlopen(path, timeout=10) as answer:
            return list(msgspec.msgpack.decode(answer.read())[1])
    except (OSError, urllib.error.HTTPError):
        return None


def serves_all(node: NodeProcess) -> bool:
    """Whether a node gives out every block of its chain; reading damaged ones makes it heal."""
    height, parent = 1, None
    tip = node.height()
    if tip < 0:
        return False
    while height <= tip:
        page = raw_blocks(node, height, 512)
        if not page:
            return False
        for raw in page:
            block = Block.decode(raw)
            assert block.height == height, "blocks out of order"
            assert parent in (None, block.parent), "blocks that are not linked"
            height, parent = height + 1, block.hash
    return True
