"""The CPU kernel: many nonces at once, one in each lane of the machine's vectors.

numba compiles the loop; the double hash inside is written out here, operation by operation, on
vectors of 32-bit lanes (`_Lanes`): no optimiser has to discover that nonces are independent. What
does not depend on the nonce stays a scalar, is folded or hoisted by LLVM, and is added first.

Only the hash's last word, the most significant one, is made: it needs 61 of the second hash's 64
rounds. A block of nonces whose lowest last word is not above the target's is looked at by hashlib.
Editing this file empties numba's cache of it.
"""

import struct
from collections.abc import Callable, Sequence
from threading import Timer
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding, ir
from numba import config, njit, types
from numba.extending import intrinsic

from chaind.miner.search import BLOCK_0, BLOCK_0_NONCE, check_range, meets
from chaind.miner.sha256 import BLOCK_BYTES, INITIAL_STATE, ROUND_CONSTANTS, compress
from chaind.primitives.errors import LocalFault
from chaind.primitives.work import BITCOIN_MAIN, target_of

LAST_ROUND = 60  # its e becomes the state's last word three rounds later
PADDING = 0x8000_0000
TABLE_WORDS = 8 + 3
QUIET_S = 2.0  # loading from the cache takes less; a compilation is told of
_I32 = ir.IntType(32)
_CHOOSE, _MAJORITY = 0xCA, 0xE8  # vpternlogd's truth tables of e ? f : g and of two out of three


class KernelBroken(LocalFault):
    """The compiled kernel does not do what it was written for."""

    code = "kernel-broken"
    text = "the mining kernel {kernel!r} misses a known nonce in lane {lane}"
    advice = "Do not mine with it. Report this with the processor's name and the version of numba."


class KernelHomeless(LocalFault):
    """numba has nowhere to keep what it compiles."""

    code = "kernel-homeless"
    text = "the compiled mining kernel can be kept nowhere: {reason}"
    advice = "Set NUMBA_CACHE_DIR to a directory that this user may write to."
    exit_code = 73  # EX_CANTCREAT


class Shape(NamedTuple):
    """`lanes` nonces in a vector, `streams` vectors side by side to fill the pipelines.

    `ternary`: the machine has AVX-512's vpternlogd, which LLVM does not find everywhere by itself.
    """

    lanes: int
    streams: int
    ternary: bool

    @property
    def name(self) -> str:
        """As people read it."""
        return f"{self.streams} x {self.lanes} lanes" + (", vpternlogd" if self.ternary else "")


# The best of those that `benchmarks/mining.py` compares.
WIDE = Shape(lanes=16, streams=2, ternary=True)
PLAIN = Shape(lanes=8, streams=1, ternary=False)  # AVX2, or two vectors of NEON
_Value = Any  # an i32 of LLVM, the same for all nonces, or a list of vectors, one per stream


class _Lanes:
    """Emits 32-bit arithmetic on values that are scalars as long as they can be."""

    def __init__(self, builder: Any, shape: Shape) -> None:
        self._builder = builder
        self._shape = shape
        self._vector = ir.VectorType(_I32, shape.lanes)

    def nonces(self, first: Any) -> _Value:
        """first, first + 1, … in header byte order: SHA-256 reads words big-endian."""
        lanes = self._shape.lanes
        starts = (lanes * stream for stream in range(self._shape.streams))
        offsets = [ir.Constant(self._vector, list(range(at, at + lanes))) for at in starts]
        return self.swapped([self._builder.add(self._spread(first), each) for each in offsets])

    def constant(self, value: int) -> _Value:
        return ir.Constant(_I32, value)

    def sum(self, *terms: _Value) -> _Value:
        """Constants first, then what all nonces share, then vectors, so that vectors add least."""
        shared = [term for term in terms if not isinstance(term, list)]
        fixed = sum(term.constant for term in shared if isinstance(term, ir.Constant))
        rest = [term for term in shared if not isinstance(term, ir.Constant)]
        rest += [term for term in terms if isinstance(term, list)]
        total = self.constant(fixed & 0xFFFF_FFFF)
        if total.constant == 0 and rest:
            total = rest.pop(0)
        for term in rest:
            total = self._apply(self._builder.add, total, term)
        return total

    def sigma(self, word: _Value, rotations: Sequence[int], shift: int | None = None) -> _Value:
        """Exclusive or of `word` rotated right by each of `rotations`, and shifted by `shift`."""
        parts = [self._rotated(word, by) for by in rotations]
        if shift is not None:
            parts.append(self._apply(self._builder.lshr, word, self.constant(shift)))
        mixed = parts[0]
        for part in parts[1:]:
            mixed = self._apply(self._builder.xor, mixed, part)
        return mixed

    def choose(self, e: _Value, f: _Value, g: _Value) -> _Value:
        """Bits of f where e has ones, of g elsewhere."""
        if self._has_ternary(e, f, g):
            return self._ternary(_CHOOSE, e, f, g)
        differing = self._apply(self._builder.xor, f, g)
        return self._apply(self._builder.xor, g, self._apply(self._builder.and_, e, differing))

    def majority(self, a: _Value, b: _Value, c: _Value) -> _Value:
        """Bits that at least two have."""
        if self._has_ternary(a, b, c):
            return self._ternary(_MAJORITY, a, b, c)
        either = self._apply(self._builder.and_, c, self._apply(self._builder.or_, a, b))
        return self._apply(self._builder.or_, self._apply(self._builder.and_, a, b), either)

    def swapped(self, words: _Value) -> _Value:
        """The bytes of each lane in the other order."""
        return self._apply(lambda word: self._call("llvm.bswap", word.type, word), words)

    def lowest(self, vectors: _Value) -> Any:
        """The least of all lanes of all streams."""
        least = vectors[0]
        for each in vectors[1:]:
            lower = self._builder.icmp_unsigned("<", least, each)
            least = self._builder.select(lower, least, each)
        return self._call("llvm.vector.reduce.umin", _I32, least)

    def _rotated(self, word: _Value, by: int) -> _Value:
        def rotate(one: Any, amount: Any) -> Any:
            return self._call("llvm.fshr", one.type, one, one, amount)

        return self._apply(rotate, word, self.constant(by))

    def _has_ternary(self, *words: _Value) -> bool:
        return self._shape.ternary and any(isinstance(word, list) for word in words)

    def _ternary(self, table: int, *words: _Value) -> _Value:
        name = f"llvm.x86.avx512.pternlog.d.{32 * self._shape.lanes}"

        def look_up(*three: Any) -> Any:
            return self._call(name, self._vector, *three, self.constant(table), overloaded=False)

        return self._apply(look_up, *words)

    def _apply(self, operation: Callable[..., Any], *words: _Value) -> _Value:
        """On scalars, or stream by stream where one of them is no scalar."""
        if not any(isinstance(word, list) for word in words):
            return operation(*words)
        streams = [
            word if isinstance(word, list) else [self._spread(word)] * self._shape.streams
            for word in words
        ]
        return [operation(*each) for each in zip(*streams, strict=True)]

    def _spread(self, word: Any) -> Any:
        """A scalar in every lane."""
        lanes = self._shape.lanes
        if isinstance(word, ir.Constant):
            return ir.Constant(self._vector, [word.constant] * lanes)
        nothing = ir.Constant(self._vector, ir.Undefined)
        first = self._builder.insert_element(nothing, word, self.constant(0))
        everywhere = ir.Constant(self._vector, [0] * lanes)
        return self._builder.shuffle_vector(first, nothing, everywhere)

    def _call(self, name: str, returns: Any, *words: Any, overloaded: bool = True) -> Any:
        """A function of LLVM's own; an overloaded one bears the type of what it works on."""
        if overloaded:
            name += f".v{self._shape.lanes}i32" if words[0].type == self._vector else ".i32"
        module = self._builder.module
        function = module.globals.get(name)
        if function is None:
            kind = ir.FunctionType(returns, [word.type for word in words])
            function = ir.Function(module, kind, name)
        return self._builder.call(function, list(words))


def _rounds(
    lanes: _Lanes, state: Sequence[_Value], block: Sequence[_Value], last_round: int
) -> list[_Value]:
    """The working variables a … h after `last_round`; a is None where nothing will ask for it."""
    words = list(block)
    a, b, c, d, e, f, g, h = state
    whole = last_round == len(ROUND_CONSTANTS) - 1
    for t in range(last_round + 1):
        if t >= 16:
            near = lanes.sigma(words[t - 2], (17, 19), shift=10)
            far = lanes.sigma(words[t - 15], (7, 18), shift=3)
            words.append(lanes.sum(words[t - 16], words[t - 7], far, near))
        constant = lanes.constant(ROUND_CONSTANTS[t])
        first = lanes.sum(h, constant, words[t], lanes.choose(e, f, g), lanes.sigma(e, (6, 11, 25)))
        if whole or t <= last_round - 4:
            new = lanes.sum(first, lanes.majority(a, b, c), lanes.sigma(a, (2, 13, 22)))
        else:
            new = None  # it would be d in more than three rounds, after the last
        a, b, c, d, e, f, g, h = new, a, b, c, lanes.sum(d, first), e, f, g
    return [a, b, c, d, e, f, g, h]


def _emit_lowest_last_word(builder: Any, shape: Shape, table: Any, first: Any) -> Any:
    """`table`: pointer to the state after 64 bytes of the header, then its words 16, 17, 18."""
    lanes = _Lanes(builder, shape)
    given = [
        builder.load(builder.gep(table, [ir.Constant(ir.IntType(64), index)]))
        for index in range(TABLE_WORDS)
    ]
    zero, padding = lanes.constant(0), lanes.constant(PADDING)
    tail = [*given[8:], lanes.nonces(first), padding, *[zero] * 10, lanes.constant(640)]
    before = given[:8]
    after = _rounds(lanes, before, tail, last_round=len(ROUND_CONSTANTS) - 1)
    digest = [lanes.sum(one, other) for one, other in zip(before, after, strict=True)]
    outer = [*digest, padding, *[zero] * 6, lanes.constant(256)]
    initial = [lanes.constant(word) for word in INITIAL_STATE]
    e = _rounds(lanes, initial, outer, last_round=LAST_ROUND)[4]
    return lanes.lowest(lanes.swapped(lanes.sum(e, initial[7])))


@intrinsic(prefer_literal=True)
def _lowest_last_word(
    _context: Any, table: Any, _first: Any, lanes: Any, streams: Any, ternary: Any
) -> Any:
    """For numba: the least last word of the headers of first, first + 1, …, as a target has it."""
    shape = Shape(
        lanes=lanes.literal_value, streams=streams.literal_value, ternary=ternary.literal_value
    )

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return _emit_lowest_last_word(builder, shape, array.data, arguments[1])

    return types.uint32(table, types.uint32, lanes, streams, ternary), generate


def _compile(shape: Shape) -> Any:
    """The loop over blocks of nonces, not yet compiled: numba does that, or loads it, when called.

    Returns the first nonce of the first block with a last word of at most `limit`, else `end` or
    above.
    """
    lanes, streams, ternary = shape
    step = lanes * streams

    @njit(cache=True, nogil=True)
    def scan(table: Any, first: Any, end: Any, limit: Any) -> Any:
        nonce = first
        while nonce < end:
            if _lowest_last_word(table, nonce, lanes, streams, ternary) <= limit:
                return nonce
            nonce += step
        return nonce

    return scan


def host_shape() -> Shape:
    """What suits this machine, or the features that numba is told to assume."""
    told = config.CPU_FEATURES
    features = binding.get_host_cpu_features()
    wide = features.get("avx512f", False) if told is None else "+avx512f" in told.split(",")
    return WIDE if wide else PLAIN


class CpuKernel:
    """See `search.Kernel`. One object may serve several threads: a search lets go of the GIL."""

    def __init__(self, shape: Shape | None = None) -> None:
        """Raises `KernelHomeless`."""
        self._shape = shape or host_shape()
        try:
            self._scan = _compile(self._shape)
        except RuntimeError as error:  # numba looks for a place before it compiles anything
            raise KernelHomeless(reason=error) from None
        self.name = self._shape.name

    def prepare(self, tell: Callable[[str], None]) -> None:
        """Compile now, or load what was compiled before, and see that it finds what is there.

        `tell` is called where it takes a while. Raises `KernelBroken`.
        """
        patience = Timer(QUIET_S, tell, ["compiling the mining kernel for this processor, once"])
        if not self._scan.signatures:
            patience.start()
        try:
            self._check()
        finally:
            patience.cancel()

    def _check(self) -> None:
        """Bitcoin's block 0 must be found in each lane, and not before it is there."""
        target = target_of(BITCOIN_MAIN.limit_bits)
        for lane in range(self._shape.lanes * self._shape.streams):
            first = BLOCK_0_NONCE - lane
            for end, there in ((BLOCK_0_NONCE, None), (BLOCK_0_NONCE + 1, BLOCK_0_NONCE)):
                found = self.find(prefix=BLOCK_0, target=target, first=first, end=end)
                if found != there:
                    raise KernelBroken(kernel=self.name, lane=lane)

    def assembly(self) -> str:
        """What it was compiled to, for those who count instructions."""
        (text,) = self._scan.inspect_asm().values()
        assert isinstance(text, str)
        return text

    def find(self, *, prefix: bytes, target: int, first: int, end: int) -> int | None:
        """See `search.Kernel`."""
        check_range(prefix, first, end)
        state = compress(INITIAL_STATE, prefix[:BLOCK_BYTES])
        words = struct.unpack(">3I", prefix[BLOCK_BYTES:])
        table = np.array([*state, *words], dtype=np.uint32)
        limit = np.uint32(target >> 224)
        step = self._shape.lanes * self._shape.streams
        nonce = first
        while nonce < end:
            block = int(self._scan(table, np.int64(nonce), np.int64(end), limit))
            for nonce in range(block, min(block + step, end)):
                if meets(prefix, nonce, target):
                    return nonce
            nonce = block + step
        return None
