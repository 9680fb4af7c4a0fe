"""The miner's end of a Stratum V1 connection, without the socket: lines in, lines and work out.

Law: a pool is believed in nothing that can be checked; what it says out of turn, or what is no
Stratum, ends the connection (`PoolFault`). Times of headers are Unix seconds.
"""

import struct
from collections import deque
from typing import Any, NamedTuple

import msgspec

from chaind.miner.jobs import share_target
from chaind.primitives.errors import Malformed, PeerFault
from chaind.primitives.hashes import sha256d

LINE_BYTES_MAX = 1 << 17  # a coinbase of 4 KiB and a branch of 32 hashes, in hex, and slack
BRANCH_MAX = 32
COINBASE_BYTES_MAX = 1 << 16
UNANSWERED_MAX = 1_000
STALE = 21


class PoolFault(Malformed, PeerFault):
    """The other end does not speak Stratum."""

    code = "pool-fault"
    text = "the pool breaks the protocol: {reason}"
    advice = "Check --url: it has to name a Stratum V1 server, not a pool's web page."


class PoolRefusal(Malformed, PeerFault):
    """The pool does not want this miner."""

    code = "pool-refusal"
    text = "the pool refuses {what}: {reason}"
    advice = "Check --address: most pools want ADDRESS or ADDRESS.WORKER of their own chain."


class PoolJob(NamedTuple):
    """Work as a pool gives it. `target` is a share's."""

    id: str
    parent: bytes
    coinbase_head: bytes
    coinbase_tail: bytes
    branch: tuple[bytes, ...]
    version: int
    bits: int
    time: int
    target: int

    def prefix(self, extranonce: bytes, time: int) -> bytes:
        """The header without its nonce, 76 bytes."""
        root = sha256d(self.coinbase_head + extranonce + self.coinbase_tail)
        for sibling in self.branch:
            root = sha256d(root + sibling)
        head = struct.pack("<I", self.version) + self.parent + root
        return head + struct.pack("<II", time, self.bits)


class Verdict(NamedTuple):
    """What a pool says of a share. `reason` is empty for one that it took."""

    accepted: bool
    stale: bool
    reason: str


class _Line(msgspec.Struct):
    id: Any = None
    method: str | None = None
    params: Any = ()
    result: Any = None
    error: Any = None


_lines = msgspec.json.Decoder(_Line)
_to_json = msgspec.json.Encoder().encode


class PoolClient:
    """See the module's law. `name` is ADDRESS or ADDRESS.WORKER."""

    def __init__(self, name: str, password: str, agent: str) -> None:
        self._name = name
        self._password = password
        self._agent = agent
        self._last_id = 0
        self._asked: dict[int, str] = {}  # requests that are not answered
        self._extranonce1 = b""
        self._extranonce2_bytes = 0
        self._difficulty = 1.0
        self._number = 0  # of the next extranonce2
        self.job: PoolJob | None = None  # what to work on
        self.live: set[str] = set()  # ids of jobs whose shares still count
        self.joined = False
        self.verdicts: deque[Verdict] = deque()  # to be taken by whoever counts

    def hello(self) -> bytes:
        """The first line."""
        return self._ask("mining.subscribe", [self._agent])

    def feed(self, line: bytes) -> list[bytes]:
        """What to answer. Raises `PoolFault`, or `PoolRefusal`."""
        if len(line) > LINE_BYTES_MAX:
            raise PoolFault(reason=f"a line of more than {LINE_BYTES_MAX} bytes")
        try:
            told = _lines.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PoolFault(reason=str(error) or "nested beyond all sense") from None
        if told.method is not None:
            return self._hear(told)
        if not isinstance(told.id, int) or (what := self._asked.pop(told.id, None)) is None:
            raise PoolFault(reason=f"an answer to request {str(told.id)[:20]}, which was not asked")
        return self._take(what, told)

    def next_extranonce2(self) -> bytes:
        """One that was not used on this connection, until they all were."""
        number = self._number
        self._number = (number + 1) % (1 << 8 * self._extranonce2_bytes)
        return number.to_bytes(self._extranonce2_bytes, "big")

    def prefix(self, job: PoolJob, extranonce2: bytes, time: int) -> bytes:
        """What to search nonces for."""
        return job.prefix(self._extranonce1 + extranonce2, time)

    def submit(self, job: PoolJob, extranonce2: bytes, time: int, nonce: int) -> bytes:
        """A share."""
        params = [self._name, job.id, extranonce2.hex(), f"{time:08x}", f"{nonce:08x}"]
        return self._ask("mining.submit", params)

    def _ask(self, method: str, params: list[Any]) -> bytes:
        if len(self._asked) >= UNANSWERED_MAX:
            raise PoolFault(reason=f"it leaves {UNANSWERED_MAX} requests unanswered")
        self._last_id += 1
        self._asked[self._last_id] = method
        line = {"id": self._last_id, "method": method, "params": params}
        return bytes(_to_json(line)) + b"\n"

    def _take(self, what: str, told: _Line) -> list[bytes]:
        reason = "" if told.error is None else _reason_of(told.error)
        if what == "mining.submit":
            accepted = told.result is True and told.error is None
            stale = isinstance(told.error, list) and told.error[:1] == [STALE]
            self.verdicts.append(Verdict(accepted, stale, reason))
            return []
        if told.error is not None or not told.result:
            raise PoolRefusal(what=what, reason=reason or "no reason is given")
        if what == "mining.subscribe":
            self._subscribed(told.result)
            return [self._ask("mining.authorize", [self._name, self._password])]
        self.joined = True
        return []

    def _subscribed(self, result: Any) -> None:
        match result:
            case [_, str() as extranonce1, int() as size] if 1 <= size <= 8:
                self._extranonce1 = _bytes(extranonce1, 16, "extranonce1")
                self._extranonce2_bytes = size
            case _:
                raise PoolFault(reason="the answer to mining.subscribe is of another shape")

    def _hear(self, told: _Line) -> list[bytes]:
        params = told.params if isinstance(told.params, list) else []
        match told.method, params:
            case "mining.set_difficulty", [float() | int() as difficulty, *_] if difficulty > 0:
                self._difficulty = float(min(difficulty, 2**200))
            case "mining.set_difficulty", _:
                raise PoolFault(reason="a difficulty is a positive number")
            case "mining.notify", _:
                self._notify(params)
            case "client.get_version", _:
                answer = {"id": told.id, "result": self._agent, "error": None}
                return [bytes(_to_json(answer)) + b"\n"]
        return []  # client.show_message and the like are for people

    def _notify(self, params: list[Any]) -> None:
        if not self._extranonce2_bytes:
            raise PoolFault(reason="work before the answer to mining.subscribe")
        match params:
            case [str() as number, parent, head, tail, list() as branch, version, bits, time, *_]:
                pass
            case _:
                raise PoolFault(reason="mining.notify is of another shape")
        if len(branch) > BRANCH_MAX:
            raise PoolFault(reason=f"a branch of more than {BRANCH_MAX} hashes")
        words = struct.unpack(">8I", _exactly(parent, 32, "prevhash"))
        if len(params) < 9 or params[8] is not False:
            self.live.clear()
        self.live.add(number)
        self.job = PoolJob(
            id=number,
            parent=struct.pack("<8I", *words),
            coinbase_head=_bytes(head, COINBASE_BYTES_MAX, "coinb1"),
            coinbase_tail=_bytes(tail, COINBASE_BYTES_MAX, "coinb2"),
            branch=tuple(_exactly(one, 32, "branch") for one in branch),
            version=_word(version, "version"),
            bits=_word(bits, "nbits"),
            time=_word(time, "ntime"),
            target=share_target(self._difficulty),
        )


def _reason_of(error: Any) -> str:
    text = error[1] if isinstance(error, list) and len(error) > 1 else error
    return "".join(char if char.isprintable() else "?" for char in str(text)[:200])


def _bytes(value: Any, length_max: int, name: str) -> bytes:
    try:
        data = bytes.fromhex(value)
    except (TypeError, ValueError):
        raise PoolFault(reason=f"{name} is not hex") from None
    if len(data) > length_max:
        raise PoolFault(reason=f"{name} is longer than {length_max} bytes")
    return data


def _exactly(value: Any, length: int, name: str) -> bytes:
    data = _bytes(value, length, name)
    if len(data) != length:
        raise PoolFault(reason=f"{name} is not {length} bytes")
    return data


def _word(value: Any, name: str) -> int:
    return int.from_bytes(_exactly(value, 4, name), "big")
