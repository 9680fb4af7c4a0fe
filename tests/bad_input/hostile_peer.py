"""A peer that speaks the protocol byte by byte and says what it likes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from hostile_world import HOSTILE, WAIT_S, World, own

from chaind.network import messages as wire
from chaind.network.frames import FrameReader, seal
from chaind.network.handshake import PROTOCOL_VERSION, Handshaker, Hello
from chaind.network.noise import KeyPair
from chaind.network.peer import Peer
from chaind.primitives.block import BFT_BITS, BLOCK_VERSION, Commitment, Header
from chaind.primitives.codec import encode
from chaind.primitives.coinbase import encode_coinbase
from chaind.primitives.hashes import merkle_root, sha256d
from chaind.primitives.keys import SecretKey, verify
from chaind.primitives.votes import Vote, VoteKind, vote_digest

CHUNK = 1 << 16


class Stranger:
    """One connection. `heard` is what the node said; `gone` is set when it hangs up."""

    def __init__(self, world: World, key: SecretKey | None) -> None:
        self.world = world
        self.heard: list[wire.Message] = []
        self.gone = asyncio.Event()
        self.answers: dict[type, Callable[[Any], wire.Message]] = {
            wire.Ping: lambda ping: wire.Pong(ping.nonce)
        }
        self.identity = KeyPair.generate()
        self._key = key
        self._writer: asyncio.StreamWriter
        self._reading: asyncio.Task[None]

    @property
    def peer(self) -> Peer:
        """How the node sees this connection."""
        [peer] = [p for p in self.world.node.network.peers() if p.node_id == self.identity.node_id]
        return peer

    @property
    def points(self) -> float:
        """What the node holds against it; a ban wipes the points and is infinite."""
        scores, now_ms = self.world.node.network.scores, self.world.node.clock.monotonic_ms()
        if scores.is_banned(self.identity.node_id, now_ms=now_ms):
            return float("inf")
        return scores.points(self.identity.node_id, now_ms=now_ms)

    async def open(self) -> None:
        """Connect and introduce itself."""
        port = self.world.node.network.port
        reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        hello = Hello(PROTOCOL_VERSION, "hostile", 0, 0, self._key.public if self._key else None)
        shaker = Handshaker(
            initiator=True,
            genesis_hash=self.world.genesis.hash,
            static=self.identity,
            ephemeral=KeyPair.generate(),
            hello=hello,
            sign=self._key.sign if self._key else None,
            verify=verify,
            admit=lambda static, theirs: None,
        )
        self._writer.write(shaker.start())
        while not shaker.complete:
            self._writer.write(shaker.receive(await reader.read(CHUNK)))
        self._send, receive, rest = shaker.split()
        frames = FrameReader(receive)
        self._reading = asyncio.create_task(self._read(reader, frames, rest))
        node = self.world.node
        await self.world.until(
            lambda: any(p.node_id == self.identity.node_id for p in node.network.peers())
        )

    async def _read(self, reader: asyncio.StreamReader, frames: FrameReader, data: bytes) -> None:
        with suppress(ConnectionError):
            while True:
                for body in frames.feed(data):
                    message = wire.decode_message(body)
                    self.heard.append(message)
                    answer = self.answers.get(type(message))
                    if answer is not None:
                        self.say(answer(message))
                data = await reader.read(CHUNK)
                if not data:
                    break
        self.gone.set()

    def say(self, *messages: wire.Message) -> None:
        """Send messages."""
        self.utter(*(wire.encode_message(message) for message in messages))

    def utter(self, *bodies: bytes) -> None:
        """Send frames of these bodies, whatever they are."""
        self.write(seal(self._send, bodies))

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    def seal_plain(self, plain: bytes) -> bytes:
        """One record of this plain text, which need not hold whole frames."""
        sealed = self._send.encrypt(plain)
        return len(sealed).to_bytes(2, "big") + sealed

    async def drain(self) -> None:
        """Wait while the node does not take more."""
        with suppress(ConnectionError):
            await self._writer.drain()

    async def understood(self) -> None:
        """Wait until the node has worked on all that was said, or has hung up."""
        unheard = sha256d(len(self.heard).to_bytes(8, "big") + self.identity.public)
        if not self.gone.is_set():
            self.say(wire.GetBlock(unheard))
            told = wire.BlockData(unheard, None)
            await self.world.until(lambda: self.gone.is_set() or told in self.heard)

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
        await asyncio.wait_for(self._reading, WAIT_S)
        gone = self.identity.node_id
        await self.world.until(
            lambda: all(p.node_id != gone for p in self.world.node.network.peers())
        )


@asynccontextmanager
async def stranger(world: World, key: SecretKey | None = None) -> AsyncIterator[Stranger]:
    """A peer; with a validator's key, a validator."""
    guest = Stranger(world, key)
    await guest.open()
    try:
        yield guest
    finally:
        await guest.close()


def proposal(world: World, view: int, parent: bytes, raws: Sequence[bytes]) -> wire.Proposal:
    """What the hostile leader proposes in its view: these bytes, on this block."""
    info = world.node.chain.info(parent)
    assert info is not None
    time_ms = max(world.node.clock.now_ms(), info.time_ms + 1)
    commitment = encode(
        Commitment(
            height=info.height + 1,
            time_ms=time_ms,
            epoch=1,
            view=view,
            proposer=own(HOSTILE),
            parent_root=info.root,
            validators_hash=world.genesis.validators_hash,
            last_certificate=(info.view, info.hash),
            snapshot=None,
            evidence=(),
        )
    )
    coinbase = encode_coinbase(info.height + 1)
    wtxids = tuple(sha256d(raw) for raw in raws)
    root = merkle_root([sha256d(coinbase), sha256d(commitment), *wtxids])
    header = Header(BLOCK_VERSION, parent, root, time_ms // 1000, BFT_BITS, 0).encode()
    block = sha256d(header)
    signature = HOSTILE.sign(vote_digest(world.genesis.hash, 1, view, VoteKind.FIRST, block))
    vote = Vote(1, view, VoteKind.FIRST, block, 1, signature)
    return wire.Proposal(header, coinbase, commitment, wtxids, info.view, (), vote)
