"""The virtual loop: time moves from event to event, processes do not wait for each other."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from chaind.simulation.loop import CALLBACK_S, Process, Stalled, VirtualLoop, current_process


class Failures:
    """What nobody took."""

    def __init__(self) -> None:
        self.heard: list[tuple[Process | None, BaseException | None]] = []

    def __call__(self, process: Process | None, error: BaseException | None, _: str) -> None:
        self.heard.append((process, error))


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, Any]]) -> tuple[Any, VirtualLoop]:
    failures = Failures()
    loop = VirtualLoop(failures)
    try:
        result = loop.run_until_complete(main(loop))
    finally:
        loop.drain()
    assert failures.heard == []
    return result, loop


def test_an_hour_of_sleep_takes_no_time() -> None:
    async def main(loop: VirtualLoop) -> float:
        await asyncio.sleep(3600)
        return loop.time()

    assert run(main)[0] == 3600


def test_timeouts_and_groups_of_tasks_work_as_elsewhere() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        said: list[str] = []

        async def say(word: str, after_s: float) -> None:
            await asyncio.sleep(after_s)
            said.append(word)

        async with asyncio.TaskGroup() as group:
            group.create_task(say("second", 2))
            group.create_task(say("first", 1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await loop.create_future()
        said.append(str(loop.time()))
        return said

    assert run(main)[0] == ["first", "second", "7.0"]


def test_a_busy_process_holds_up_its_own_callbacks_and_nobody_else() -> None:
    async def main(loop: VirtualLoop) -> dict[str, float]:
        at: dict[str, float] = {}
        busy, idle = Process(loop, "busy"), Process(loop, "idle")

        async def work(name: str, charge_s: float) -> None:
            await asyncio.sleep(1)
            process = current_process()
            assert process is not None
            process.charge(charge_s)
            at[f"{name} began"] = loop.time()
            await asyncio.sleep(0)
            at[f"{name} went on"] = loop.time()

        tasks = [busy.spawn(work("busy", 0.5), ""), idle.spawn(work("idle", 0), "")]
        for task in tasks:
            await task
        return at

    at, _ = run(main)
    assert at["busy went on"] - at["busy began"] == pytest.approx(0.5 + CALLBACK_S, abs=1e-9)
    assert at["idle went on"] - at["idle began"] == pytest.approx(CALLBACK_S, abs=1e-9)


def test_callbacks_of_one_process_keep_their_order_through_a_pause() -> None:
    async def main(loop: VirtualLoop) -> tuple[list[int], float]:
        process = Process(loop, "p")
        order: list[int] = []
        for number in range(10):
            loop.call_later(number / 100, order.append, number, context=process.context)
        process.pause(1.0)
        await asyncio.sleep(0.9)
        assert order == []
        await asyncio.sleep(0.2)
        return order, loop.time()

    assert run(main)[0] == (list(range(10)), pytest.approx(1.1))


def test_of_a_dead_process_no_timer_fires_but_its_tasks_unwind() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        process = Process(loop, "p")
        seen: list[str] = []

        async def live() -> None:
            loop.call_later(1, seen.append, "timer")
            try:
                await asyncio.sleep(10)
            finally:
                seen.append("unwound")

        process.spawn(live(), "live")
        await asyncio.sleep(0.5)
        process.end()
        await asyncio.sleep(20)
        return seen

    assert run(main)[0] == ["unwound"]


def test_waiting_for_what_cannot_happen_is_told() -> None:
    loop = VirtualLoop(Failures())

    async def main() -> None:
        await loop.create_future()

    with pytest.raises(Stalled):
        loop.run_until_complete(main())
    loop.drain()


def test_a_failure_that_nobody_takes_is_told_with_its_process() -> None:
    failures = Failures()
    loop = VirtualLoop(failures)
    process = Process(loop, "p")

    def fail() -> None:
        raise ValueError

    loop.call_later(1, fail, context=process.context)
    loop.run_until_complete(asyncio.sleep(2))
    loop.drain()
    [(who, error)] = failures.heard
    assert who is process
    assert isinstance(error, ValueError)
