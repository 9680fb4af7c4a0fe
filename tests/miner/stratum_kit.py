"""Work to give out without a chain, and a miner written from the text of the protocol."""

import asyncio
import json
import struct
from hashlib import sha256
from itertools import count
from typing import Any

from chaind.miner.jobs import Template, coinbase_branch
from chaind.miner.stratum import Share
from chaind.primitives.block import BLOCK_VERSION
from chaind.primitives.coinbase import TAG, address_script, encode_coinbase

EASY_BITS = 0x2000FFFF  # one hash in 256 makes a block
NOW = 1_800_000_000
MARK = b"\xa5" * 8  # where the extranonce goes


class Blocks:
    """A chain of nothing but heights: what is solved is below what is given out next."""

    def __init__(self, bits: int = EASY_BITS) -> None:
        self.bits = bits
        self.parent = bytes(32)
        self.height = 1
        self.found: list[Share] = []
        self.numbers = count(1)
        self.changed = asyncio.Event()
        self.closed = False
        self._given: dict[tuple[bytes, bytes], Template] = {}

    def template(self, payee: bytes) -> Template | None:
        if self.closed:
            return None
        outputs = [(address_script(payee), 50)]
        head, tail = encode_coinbase(self.height, TAG + MARK, outputs).split(MARK)
        return Template(
            id=f"{next(self.numbers):x}",
            height=self.height,
            version=BLOCK_VERSION,
            parent=self.parent,
            bits=self.bits,
            time=NOW,
            time_min=NOW,
            time_max=NOW + 600,
            coinbase_head=head,
            coinbase_tail=tail,
            branch=coinbase_branch([bytes(32), sha256(b"commitment").digest()]),
        )

    def payee_of(self, name: str) -> bytes | None:
        who = name.split(".")[0]
        return sha256(who.encode()).digest()[:20] if who.startswith("chd1") else None

    def why_unpaid(self, name: str) -> str:
        return f"{name} pays nobody"

    def solved(self, share: Share) -> None:
        if share.template.parent == self.parent:
            self.found.append(share)
            self.parent = sha256(sha256(share.header).digest()).digest()
            self.height += 1
            self.changed.set()


class StratumClient:
    """Mines over a socket by what the protocol's description says, and by nothing else."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.numbers = count(1)
        self.answers: dict[int, Any] = {}
        self.news = asyncio.Event()
        self.job: list[Any] = []
        self.difficulty = 1.0
        self.reading: asyncio.Task[None] | None = None

    async def join(self, port: int) -> "StratumClient":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.writer.write(self._line("mining.subscribe", ["kit/1"]))
        told = json.loads(await self.reader.readline())  # the very next line
        _, self.extranonce1, self.extranonce2_bytes = told["result"]
        self.reading = asyncio.create_task(self._read())
        assert await self.ask("mining.authorize", self.name, "x") is True
        return self

    def _line(self, method: str, params: list[Any]) -> bytes:
        number = next(self.numbers)
        return json.dumps({"id": number, "method": method, "params": params}).encode() + b"\n"

    async def _read(self) -> None:
        while line := await self.reader.readline():
            told = json.loads(line)
            if told.get("method") == "mining.notify":
                self.job = told["params"]
            elif told.get("method") == "mining.set_difficulty":
                self.difficulty = told["params"][0]
            else:
                self.answers[told["id"]] = told
            self.news.set()
        self.news.set()

    async def until(self, holds: Any) -> None:
        async with asyncio.timeout(20):
            while not holds():
                await self.news.wait()
                self.news.clear()

    async def ask(self, method: str, *params: Any) -> Any:
        line = self._line(method, list(params))
        self.writer.write(line)
        number = json.loads(line)["id"]
        await self.until(lambda: number in self.answers)
        told = self.answers.pop(number)
        return told["result"] if told["error"] is None else told["error"]

    def search(self, extranonce2: int = 0) -> list[str]:
        """What to submit for the first nonce that is good enough for a share."""
        job, parent, head, tail, branch, version, bits, time, _ = self.job
        more = extranonce2.to_bytes(self.extranonce2_bytes, "big").hex()
        root = _twice(bytes.fromhex(head + self.extranonce1 + more + tail))
        for sibling in branch:
            root = _twice(root + bytes.fromhex(sibling))
        words = [bytes.fromhex(parent[at : at + 8])[::-1] for at in range(0, 64, 8)]
        start = (
            bytes.fromhex(version)[::-1]
            + b"".join(words)
            + root
            + bytes.fromhex(time)[::-1]
            + bytes.fromhex(bits)[::-1]
        )
        target = (0xFFFF << 208) / self.difficulty
        for nonce in count():
            if int.from_bytes(_twice(start + struct.pack("<I", nonce)), "little") <= target:
                return [self.name, job, more, time, f"{nonce:08x}"]
        raise AssertionError

    async def send(self, share: list[str]) -> str:
        """What comes of a share: accepted, or code and words of the refusal."""
        told = await self.ask("mining.submit", *share)
        return "accepted" if told is True else f"{told[0]} {told[1]}"

    async def leave(self) -> None:
        self.writer.close()
        if self.reading is not None:
            await self.reading


def _twice(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()
