"""Virtual streams behave like TCP: in order or not at all, late where bytes are lost."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from chaind.simulation.loop import Process, VirtualLoop
from chaind.simulation.wire import KERNEL_BYTES, LinkState, Wires

DELAY_S = 0.01


class Side(asyncio.Protocol):
    """One end: what it heard, and whether the stream is over."""

    def __init__(self) -> None:
        self.data = b""
        self.transport: Any = None
        self.over: list[Exception | None] = []
        self.paused = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, error: Exception | None) -> None:
        self.over.append(error)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False


class Pair:
    """Two machines, a to b; `open` gives both ends of a stream."""

    def __init__(self, loop: VirtualLoop, jitter_s: float = 0.0) -> None:
        self.loop = loop
        self.wires = Wires(loop, Random(1), lambda *_: None)
        loop.sockets = self.wires
        self.a, self.b = Process(loop, "a.1"), Process(loop, "b.1")
        self.wires.hosts = {"a.1": "a", "b.1": "b"}
        for one, other in (("a", "b"), ("b", "a")):
            self.wires.links[one, other] = LinkState(DELAY_S, jitter_s, 1e9)

    async def open(self) -> tuple[Side, Side]:
        theirs = Side()
        self.b.context.run(self.wires.listen, self.b, lambda: theirs, "b", 1)

        async def call() -> Side:
            _, side = await self.loop.create_connection(Side, "b", 1)
            return side  # type: ignore[no-any-return]

        ours = await self.a.spawn(call(), "call")
        await asyncio.sleep(4 * DELAY_S)
        return ours, theirs


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, None]]) -> None:
    failures: list[object] = []
    loop = VirtualLoop(lambda *what: failures.append(what))
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.drain()
    assert failures == []


def test_bytes_keep_their_order_whatever_the_jitter() -> None:
    async def main(loop: VirtualLoop) -> None:
        ours, theirs = await Pair(loop, jitter_s=0.05).open()
        for number in range(200):
            ours.transport.write(bytes([number]))
        await asyncio.sleep(5)
        assert theirs.data == bytes(range(200))

    run(main)


def test_loss_makes_bytes_late_and_loses_none() -> None:
    async def main(loop: VirtualLoop) -> None:
        pair = Pair(loop)
        ours, theirs = await pair.open()
        pair.wires.links["a", "b"].loss = 0.5
        for number in range(100):
            ours.transport.write(bytes([number]))
        await asyncio.sleep(2 * DELAY_S)
        assert len(theirs.data) < 100
        await asyncio.sleep(60)
        assert theirs.data == bytes(range(100))

    run(main)


def test_a_cut_holds_back_one_direction_until_it_heals() -> None:
    async def main(loop: VirtualLoop) -> None:
        pair = Pair(loop)
        ours, theirs = await pair.open()
        pair.wires.links["a", "b"].cut = True
        ours.transport.write(b"there")
        theirs.transport.write(b"back")
        await asyncio.sleep(30)
        assert (ours.data, theirs.data) == (b"back", b"")
        pair.wires.heal("a", "b")
        await asyncio.sleep(1)
        assert theirs.data == b"there"

    run(main)


def test_a_reader_that_does_not_read_stops_the_writer() -> None:
    async def main(loop: VirtualLoop) -> None:
        ours, theirs = await Pair(loop).open()
        theirs.transport.pause_reading()
        chunk = bytes(KERNEL_BYTES // 2)
        for _ in range(4):
            ours.transport.write(chunk)
        await asyncio.sleep(1)
        assert ours.paused
        assert ours.transport.get_write_buffer_size() == KERNEL_BYTES
        assert theirs.data == b""
        theirs.transport.resume_reading()
        await asyncio.sleep(1)
        assert not ours.paused
        assert theirs.data == chunk * 4

    run(main)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_both_sides_hear_of_an_end_once(how: str) -> None:
    async def main(loop: VirtualLoop) -> None:
        ours, theirs = await Pair(loop).open()
        ours.transport.write(b"last words")
        await asyncio.sleep(2 * DELAY_S)
        getattr(ours.transport, how)()
        await asyncio.sleep(1)
        assert theirs.data == b"last words"
        assert len(ours.over) == len(theirs.over) == 1
        assert (theirs.over[0] is None) is (how == "close")

    run(main)


def test_a_killed_program_resets_its_streams_and_a_power_cut_only_when_it_is_up_again() -> None:
    async def main(loop: VirtualLoop) -> None:
        killed, cut = Pair(loop), Pair(loop)
        for pair, told in ((killed, True), (cut, False)):
            loop.sockets = pair.wires
            ours, theirs = await pair.open()
            pair.b.end()
            pair.wires.drop(pair.b, told=told)
            await asyncio.sleep(1)
            assert len(ours.over) == told
            assert theirs.over == []
            pair.wires.reset("b")
            await asyncio.sleep(1)
            assert len(ours.over) == 1

    run(main)


def test_nobody_there_refuses_and_a_cut_answers_nothing() -> None:
    async def main(loop: VirtualLoop) -> None:
        pair = Pair(loop)

        async def call() -> None:
            await loop.create_connection(Side, "b", 2)

        with pytest.raises(ConnectionRefusedError):
            await pair.a.spawn(call(), "call")
        pair.wires.links["a", "b"].cut = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await pair.a.spawn(call(), "call")

    run(main)
