"""An event loop whose time is made up, shared by many processes that do not share a processor.

Law: time moves only from event to event. Callbacks of one process run one at a time in the order
in which they became due, each takes processor time, and while a process is busy, paused or behind
nobody else waits for it. Which process a callback belongs to is the context it was made in.
Callbacks of the world outside (no process) take no time.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

CALLBACK_S = 15e-6  # processor time of a callback that charges nothing else

_WORLD = Context()  # of bookkeeping, which takes no processor's time
_process: ContextVar["Process | None"] = ContextVar("process", default=None)


class Stalled(Exception):
    """Nothing is left to happen, and what was waited for has not."""


class Process:
    """One run of a program on a machine: its callbacks, its processor, whether it still lives.

    A dead process still unwinds (its tasks are cancelled), but at no time and with no effect:
    whoever gives it disk and network asks `alive`. Its timers do not fire any more.
    """

    def __init__(self, loop: "VirtualLoop", name: str) -> None:
        self.name = name
        self.alive = True
        self.callback_s = CALLBACK_S
        self.tasks: dict[asyncio.Task[Any], None] = {}  # unfinished ones, oldest first
        self.free_at = 0.0  # when the processor has done what it was given
        self.paused_until = 0.0
        self.ready: deque[asyncio.Handle] = deque()
        self.is_queued = False
        self.context = copy_context()
        self.context.run(_process.set, self)
        self._loop = loop

    def charge(self, seconds: float) -> None:
        """Use processor time, from now on."""
        if self.alive:
            self.free_at = max(self.free_at, self._loop.time()) + seconds

    def pause(self, seconds: float) -> None:
        """Run nothing for so long."""
        self.paused_until = max(self.paused_until, self._loop.time() + seconds)

    def due(self, now: float) -> float:
        """When its next callback may run."""
        return max(now, self.free_at, self.paused_until) if self.alive else now

    def end(self) -> None:
        """Have no more effect; let the tasks unwind."""
        self.alive = False
        for task in list(self.tasks):
            task.cancel()

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T]":
        """A task of this process."""
        return self._loop.create_task(work, name=name, context=self.context)


class Sockets(Protocol):
    """The network under a loop."""

    def listen(self, process: Any, factory: Callable[[], Any], host: str, port: int) -> Any:
        """Answer calls to an address."""

    async def call(
        self, process: Any, factory: Callable[[], Any], host: str, port: int
    ) -> tuple[Any, Any]:
        """Call an address."""


class _Task(asyncio.Task[T]):
    """A task that knows whose it is, and has a place in sets that does not hang on its address."""

    def __init__(self, coro: Coroutine[Any, Any, T], number: int, **options: Any) -> None:
        self.number = number  # first, since asyncio's own sets take the task in hand at once
        self.process: Process | None = None
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.number


def current_process() -> Process | None:
    """Whose callback is running; None for the world outside."""
    return _process.get()


class VirtualLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as asyncio's tasks, futures and timeouts need.

    `on_failure` hears what a callback or a task of a living process raised and nobody took.
    """

    def __init__(self, on_failure: Callable[[Process | None, BaseException | None, str], None]):
        self._now = 0.0
        self._count = 0
        self._tasks_total = 0
        self._open: dict[asyncio.Task[Any], None] = {}  # unfinished tasks, oldest first
        self._heap: list[tuple[float, int, asyncio.Handle | None, Process | None]] = []
        self._closed = False
        self._on_failure = on_failure
        self.callbacks_total = 0
        self.sockets: Sockets | None = None  # set once by whoever makes the network

    def time(self) -> float:
        """Virtual seconds since the start."""
        return self._now

    # Scheduling.

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run after what is due already."""
        handle = asyncio.Handle(callback, args, self, context)
        process = _process.get() if context is None else context.get(_process)
        if process is None:
            self._push(self._now, handle, None)
        else:
            self._enqueue(process, handle)
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run after so many virtual seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run at a virtual time, or now where that has passed."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        process = _process.get() if context is None else context.get(_process)
        self._push(max(when, self._now), handle, process)
        return handle

    def _push(self, when: float, handle: asyncio.Handle | None, process: Process | None) -> None:
        self._count += 1
        heappush(self._heap, (when, self._count, handle, process))

    def _enqueue(self, process: Process, handle: asyncio.Handle) -> None:
        process.ready.append(handle)
        if not process.is_queued:
            process.is_queued = True
            self._push(process.due(self._now), None, process)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is passed over when its time comes."""

    # Running.

    def run_until_complete(self, future: Any) -> Any:
        """Let things happen until a task of the world outside is done; its result.

        Raises `Stalled` where nothing is left to happen.
        """
        task = asyncio.ensure_future(future, loop=self)
        asyncio._set_running_loop(self)
        try:
            while not task.done():
                if not self._heap:
                    raise Stalled
                self._step()
        finally:
            asyncio._set_running_loop(None)
        return task.result()

    def drain(self) -> None:
        """Cancel what tasks there still are, let them end, and forget all that is due."""
        asyncio._set_running_loop(self)
        try:
            for task in list(self._open):
                task.cancel()
            while self._heap and self._open:
                self._step()
        finally:
            asyncio._set_running_loop(None)
        self._heap.clear()
        self._closed = True

    def _step(self) -> None:
        when, _, handle, process = heappop(self._heap)
        self._now = when
        if handle is None:
            assert process is not None
            self._run_next(process)
        elif handle.cancelled():
            return
        elif process is not None:
            if process.alive:
                self._enqueue(process, handle)
        else:
            self.callbacks_total += 1
            handle._run()

    def _run_next(self, process: Process) -> None:
        due = process.due(self._now)
        if due > self._now:
            self._push(due, None, process)
            return
        handle = process.ready.popleft()
        if not handle.cancelled():
            self.callbacks_total += 1
            process.charge(process.callback_s)
            handle._run()
        process.is_queued = bool(process.ready)
        if process.is_queued:
            self._push(process.due(self._now), None, process)

    # Sockets, as `chaind.network` opens them: whoever owns the network answers.

    async def create_server(self, factory: Any, host: Any = None, port: Any = None) -> Any:  # type: ignore[override]
        """Listen as the current process."""
        assert self.sockets is not None
        return self.sockets.listen(_process.get(), factory, host, port)

    async def create_connection(self, factory: Any, host: Any = None, port: Any = None) -> Any:  # type: ignore[override]
        """Call as the current process."""
        assert self.sockets is not None
        return await self.sockets.call(_process.get(), factory, host, port)

    # What asyncio asks of a loop.

    def create_future(self) -> "asyncio.Future[Any]":
        """See `asyncio`."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[T]":
        """See `asyncio`."""
        self._tasks_total += 1
        task: _Task[T] = _Task(coro, self._tasks_total, loop=self, name=name, context=context)
        self._open[task] = None
        task.add_done_callback(self._open.pop, context=_WORLD)
        process = _process.get() if context is None else context.get(_process)
        if process is not None:
            task.process = process
            process.tasks[task] = None
            task.add_done_callback(process.tasks.pop, context=_WORLD)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Something failed where nobody waits for it."""
        handle, task = context.get("handle"), context.get("task") or context.get("future")
        process: Process | None = None
        if isinstance(task, _Task):
            process = task.process
        elif isinstance(handle, asyncio.Handle):
            process = handle._context.get(_process)  # type: ignore[attr-defined]
        self._on_failure(process, context.get("exception"), str(context.get("message")))

    def get_debug(self) -> bool:
        """See `asyncio`."""
        return False

    def is_running(self) -> bool:
        """See `asyncio`."""
        return asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        """See `asyncio`."""
        return self._closed
