"""One miner's Stratum V1 connection, without the socket: lines in, lines out.

Law: an answer says nothing that was not checked here; a share counts for the job and difficulty it
was made for; the answer to a request is the next line after it, and news follow. Whatever breaks
JSON-RPC ends the connection (`MinerFault`), whatever merely is refused gets one of the codes that
mining software knows.
"""

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from chaind.miner.jobs import (
    EXTRANONCE1_BYTES,
    EXTRANONCE2_BYTES,
    VERSION_MASK,
    Template,
    share_hashes,
    share_target,
)
from chaind.miner.vardiff import Vardiff
from chaind.primitives.errors import Malformed, PeerFault
from chaind.primitives.hashes import sha256d

LINE_BYTES_MAX = 16_384  # no request of any known miner takes a kilobyte
JOBS_MAX = 16  # on one tip; a miner works on the newest
SHARES_PER_JOB_MAX = 20_000  # remembered against repetition; vardiff lets a few come a minute
WORKERS_MAX = 64  # names on one connection
NAME_CHARS_MAX = 256
REFUSED_MAX = 200  # in a row: such a miner burns our time, and its own

Line = bytes


class Refusal(IntEnum):
    """Codes of Stratum's errors."""

    OTHER = 20
    STALE = 21
    DUPLICATE = 22
    LOW_DIFFICULTY = 23
    UNAUTHORIZED = 24
    NOT_SUBSCRIBED = 25


class MinerFault(Malformed, PeerFault):
    """A line that is no request, or too many that are refused."""

    code = "miner-fault"
    text = "a miner's connection is cut: {reason}"
    advice = "Point software at this port that speaks Stratum V1: a JSON request a line."


class Refused(Exception):
    """A request is answered by an error."""

    def __init__(self, code: Refusal, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Share(NamedTuple):
    """Work that was accepted. `hashes` is what it takes on average, `header` solves its template
    where `is_block`."""

    worker: str
    template: Template
    extranonce: bytes
    header: bytes
    hashes: float
    is_block: bool


class _Job(NamedTuple):
    template: Template
    difficulty: float
    made: set[bytes]  # what was submitted for it


class _Request(msgspec.Struct):
    method: str
    id: Any = None
    params: Any = ()


_requests = msgspec.json.Decoder(_Request)
_to_json = msgspec.json.Encoder().encode


class Session:
    """See the module's law. Times are monotonic seconds.

    `payee_of` gives the address that a miner's name stands for; all names of a connection must
    stand for one, `payee`. `why_unpaid` says why a name stands for none. `on_share` hears of each
    accepted share.
    """

    def __init__(
        self,
        *,
        extranonce1: bytes,
        payee_of: Callable[[str], bytes | None],
        on_share: Callable[[Share], None],
        vardiff: Vardiff,
        why_unpaid: Callable[[str], str] = lambda _name: "",
    ) -> None:
        assert len(extranonce1) == EXTRANONCE1_BYTES
        self._extranonce1 = extranonce1
        self._payee_of = payee_of
        self._why_unpaid = why_unpaid
        self._on_share = on_share
        self._vardiff = vardiff
        self.payee: bytes | None = None  # work for whom can be sent
        self.agent = ""
        self.workers: set[str] = set()
        self.worker = ""  # whose share came last
        self.accepted = 0
        self.refused: dict[Refusal, int] = dict.fromkeys(Refusal, 0)  # shares
        self._refused_in_row = 0
        self._subscribed = False
        self._mask = 0  # version bits that this miner rolls
        self._told: float | None = None  # the difficulty that the miner knows
        self._jobs: dict[str, _Job] = {}
        self._parent = b""  # of the newest job
        self._gone: set[str] = set()  # jobs that a new tip ended

    @property
    def difficulty(self) -> float:
        """What the next job will ask of a share, unless its block is easier."""
        return self._vardiff.difficulty

    @property
    def ready(self) -> bool:
        """Whether work can be sent."""
        return self._subscribed and self.payee is not None

    def feed(self, line: Line, now_s: float) -> list[Line]:
        """Answer a request. Raises `MinerFault`."""
        if len(line) > LINE_BYTES_MAX:
            raise MinerFault(reason=f"a line of more than {LINE_BYTES_MAX} bytes")
        try:
            request = _requests.decode(line)
        except msgspec.DecodeError as error:
            raise MinerFault(reason=f"a line is no request: {error}") from None
        except (UnicodeDecodeError, RecursionError):
            raise MinerFault(reason="a line is no UTF-8, or nested beyond all sense") from None
        if isinstance(request.id, (list, dict)):
            raise MinerFault(reason="a request's id is no plain value")
        try:
            result = self._do(request, now_s)
        except Refused as refused:
            if request.method == "mining.submit":
                self.refused[refused.code] += 1
            self._refused_in_row += 1
            if self._refused_in_row > REFUSED_MAX:
                raise MinerFault(reason=f"{REFUSED_MAX} requests in a row were refused") from None
            return [_answer(request.id, None, [int(refused.code), refused.text, None])]
        self._refused_in_row = 0
        return [_answer(request.id, result, None)]

    def send(
        self, template: Template, now_s: float, encoded: dict[tuple[str, bool], Line] | None = None
    ) -> list[Line]:
        """Give the miner new work; a new difficulty goes before it.

        Earlier work counts until the tip is another. `encoded` are lines that others were sent of
        the same templates.
        """
        assert self.ready
        self._vardiff.judge(now_s)
        # A share that is harder than the block hides blocks: for him alone who finds many a second.
        block = max(_difficulty_of(template.target), self._vardiff.quick)
        difficulty = min(self._vardiff.difficulty, block)
        lines = []
        if difficulty != self._told:
            self._told = difficulty
            lines.append(_notice("mining.set_difficulty", [difficulty]))
        clean = template.parent != self._parent
        self._parent = template.parent
        if clean:
            self._gone = set(self._jobs)
            self._jobs.clear()
        elif len(self._jobs) >= JOBS_MAX:
            oldest = next(iter(self._jobs))
            del self._jobs[oldest]
            self._gone.add(oldest)
        self._jobs[template.id] = _Job(template, difficulty, set())
        line = None if encoded is None else encoded.get((template.id, clean))
        if line is None:
            line = _notice("mining.notify", _notify_params(template, clean=clean))
            if encoded is not None:
                encoded[template.id, clean] = line
        lines.append(line)
        return lines

    def _do(self, request: _Request, now_s: float) -> Any:
        params = request.params
        if not isinstance(params, (list, tuple)):
            raise Refused(Refusal.OTHER, "params is no list")
        match request.method:
            case "mining.subscribe":
                return self._subscribe(params)
            case "mining.authorize":
                return self._authorize(params)
            case "mining.submit":
                return self._submit(params, now_s)
            case "mining.configure":
                return self._configure(params)
            case "mining.suggest_difficulty":
                return self._suggest(params, now_s)
        raise Refused(Refusal.OTHER, f"{request.method[:40]} is not served here")

    def _subscribe(self, params: Any) -> Any:
        self.agent = _text(params[0])[:NAME_CHARS_MAX] if params and params[0] else ""
        self._subscribed = True
        session = self._extranonce1.hex()
        methods = [["mining.set_difficulty", session], ["mining.notify", session]]
        return [methods, session, EXTRANONCE2_BYTES]

    def _authorize(self, params: Any) -> bool:
        name = _text(params[0]) if params else ""
        payee = self._payee_of(name) if 0 < len(name) <= NAME_CHARS_MAX else None
        if payee is None:
            why = self._why_unpaid(name[:NAME_CHARS_MAX])
            form = "the name must be ADDRESS or ADDRESS.WORKER"
            raise Refused(Refusal.UNAUTHORIZED, f"{form}: {why}" if why else form)
        if self.payee not in (None, payee):
            raise Refused(Refusal.UNAUTHORIZED, "this connection works for another address")
        if len(self.workers) >= WORKERS_MAX and name not in self.workers:
            raise Refused(Refusal.OTHER, f"at most {WORKERS_MAX} names on one connection")
        self.payee = payee
        self.workers.add(name)
        return True

    def _configure(self, params: Any) -> dict[str, Any]:
        names = params[0] if params and isinstance(params[0], list) else []
        options = params[1] if len(params) > 1 and isinstance(params[1], dict) else {}
        result: dict[str, Any] = {name: False for name in names[:16] if isinstance(name, str)}
        if "version-rolling" in result:  # BIP-310
            wanted = _hex_number(options.get("version-rolling.mask", "ffffffff"), "mask")
            self._mask = wanted & VERSION_MASK
            result["version-rolling"] = True
            result["version-rolling.mask"] = f"{self._mask:08x}"
        return result

    def _suggest(self, params: Any, now_s: float) -> bool:
        value = params[0] if params else None
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
            raise Refused(Refusal.OTHER, "a difficulty is a positive number")
        self._vardiff.suggest(min(float(value), 1e30) if value < 1 << 100 else 1e30, now_s)
        return True

    def _submit(self, params: Any, now_s: float) -> bool:
        if not self._subscribed:
            raise Refused(Refusal.NOT_SUBSCRIBED, "subscribe first")
        if not 5 <= len(params) <= 6 or not all(isinstance(one, str) for one in params):
            raise Refused(Refusal.OTHER, "submit takes 5 or 6 texts")
        worker, job_id = params[0], params[1]
        if worker not in self.workers:
            raise Refused(Refusal.UNAUTHORIZED, "this name was not authorised")
        self.worker = worker
        job = self._jobs.get(job_id)
        if job is None:
            why = "the block below has changed" if job_id in self._gone else "it is not known here"
            raise Refused(Refusal.STALE, f"job not found: {why}")  # miners look for the word job
        share = self._check(worker, job, params)
        self.accepted += 1
        self._on_share(share)
        self._vardiff.share(job.difficulty, now_s)
        return True

    def _check(self, worker: str, job: _Job, params: Any) -> Share:
        template = job.template
        extranonce2 = _hex_bytes(params[2], EXTRANONCE2_BYTES, "extranonce2")
        time, nonce = _hex_number(params[3], "ntime"), _hex_number(params[4], "nonce")
        rolled = _hex_number(params[5], "version bits") if len(params) == 6 else 0
        if rolled & ~self._mask:
            raise Refused(Refusal.OTHER, f"version bits outside of {self._mask:08x}")
        if not template.time_min <= time <= template.time_max:
            span = f"{template.time_min:08x} and {template.time_max:08x}"
            raise Refused(Refusal.OTHER, f"ntime is not within {span}")
        version = template.version
        if len(params) == 6:
            version = version & ~self._mask | rolled
        mark = extranonce2 + struct.pack("<III", time, nonce, version)
        if mark in job.made:
            raise Refused(Refusal.DUPLICATE, "this share was submitted before")
        extranonce = self._extranonce1 + extranonce2
        header = template.header(extranonce=extranonce, time=time, nonce=nonce, version=version)
        number = int.from_bytes(sha256d(header), "little")
        if number > share_target(job.difficulty):
            raise Refused(Refusal.LOW_DIFFICULTY, f"above the target of {job.difficulty:g}")
        if len(job.made) >= SHARES_PER_JOB_MAX:
            raise MinerFault(reason=f"more than {SHARES_PER_JOB_MAX} shares for one job")
        job.made.add(mark)
        is_block = number <= template.target
        return Share(worker, template, extranonce, header, share_hashes(job.difficulty), is_block)


def _notify_params(template: Template, *, clean: bool) -> list[Any]:
    words = struct.unpack("<8I", template.parent)
    return [
        template.id,
        struct.pack(">8I", *words).hex(),
        template.coinbase_head.hex(),
        template.coinbase_tail.hex(),
        [sibling.hex() for sibling in template.branch],
        f"{template.version:08x}",
        f"{template.bits:08x}",
        f"{template.time:08x}",
        clean,
    ]


def _difficulty_of(target: int) -> float:
    """The highest difficulty whose share target is not below a block's target."""
    difficulty = (0xFFFF << 208) / target
    while share_target(difficulty) < target:  # rounding
        difficulty *= 1 - 2.0**-50
    return difficulty


def _answer(number: Any, result: Any, error: Any) -> Line:
    return bytes(_to_json({"id": number, "result": result, "error": error})) + b"\n"


def _notice(method: str, params: list[Any]) -> Line:
    return bytes(_to_json({"id": None, "method": method, "params": params})) + b"\n"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Refused(Refusal.OTHER, "a name is a text")
    return value


def _hex_number(value: Any, name: str) -> int:
    """A big-endian 32-bit number of up to 8 hex digits."""
    if not isinstance(value, str) or not 0 < len(value) <= 8 or not _is_hex(value):
        raise Refused(Refusal.OTHER, f"{name} is not up to 8 hex digits")
    return int(value, 16)


def _hex_bytes(value: str, count: int, name: str) -> bytes:
    if len(value) != 2 * count or not _is_hex(value):
        raise Refused(Refusal.OTHER, f"{name} is not {2 * count} hex digits")
    return bytes.fromhex(value)


def _is_hex(value: str) -> bool:
    return all(char in "0123456789abcdefABCDEF" for char in value)
