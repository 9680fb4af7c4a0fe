"""A chain of headers, verified in bulk: links, work, retargets, times, and the sum of the work.

Records of 80 bytes are fed in pieces of any size that is whole; nothing is kept of a header but
what the rules of later ones need. A chain that begins above block 0 takes on trust what cannot be
seen from there: the first parent, the first window's bits, and medians over headers not given.
"""

import hashlib
from collections import deque
from typing import NamedTuple

from chaind.consensus.pow.base import Base
from chaind.consensus.pow.errors import (
    BitsUnexpected,
    GenesisMismatch,
    HashTooHigh,
    HeadersCut,
    HeaderUnlinked,
    TargetTooEasy,
)
from chaind.consensus.pow.retarget import Anchor, retarget_asert, retarget_window
from chaind.consensus.pow.times import (
    MEDIAN_SPAN,
    check_after,
    check_against_parent,
    check_not_ahead,
)
from chaind.primitives.block import HEADER_BYTES
from chaind.primitives.hashes import ZERO_HASH, display_hash
from chaind.primitives.work import WorkParameters, target_of, work_of


class Progress(NamedTuple):
    """How far a chain is verified. `hash` is a raw digest, `chainwork` the sum up to the tip.

    `retargets` counts headers whose bits were computed anew, `changed` those among them that came
    out other than their parent's, `trusted` those whose window began before the first header.
    """

    height: int
    hash: bytes
    time: int
    bits: int
    chainwork: int
    headers: int
    retargets: int
    changed: int
    trusted: int


class HeaderChain:
    """Verifies headers in order. One that breaks a rule raises, and the chain stays before it.

    `start` is the height of the first header; `work_below` the chainwork of the one before it;
    `genesis` the hash that header 0 must have, for which it needs no work; `anchor` what asert
    hangs on where the headers begin above block 0; `now` the clock's Unix seconds.
    """

    def __init__(
        self,
        *,
        parameters: WorkParameters,
        now: int,
        start: int = 0,
        work_below: int = 0,
        genesis: bytes | None = None,
        anchor: Anchor | None = None,
    ) -> None:
        assert start == 0 or anchor is not None or parameters.retarget != "asert"
        self._parameters = parameters
        self._limit = target_of(parameters.limit_bits)
        self._now = now
        self._start = start
        self._genesis = genesis
        self._anchor = anchor
        self._height = start - 1
        self._hash = ZERO_HASH
        self._times: deque[int] = deque(maxlen=MEDIAN_SPAN)
        self._time_max = 0
        self._window_time: int | None = None  # None: the window began before the first header
        self._bits = 0
        self._target = 0
        self._work = 0
        self._chainwork = work_below
        self._retargets = 0
        self._changed = 0
        self._trusted = 0

    def progress(self) -> Progress:
        """Where the chain stands; at least one header was fed."""
        assert self._times
        return Progress(
            height=self._height,
            hash=self._hash,
            time=self._times[-1],
            bits=self._bits,
            chainwork=self._chainwork,
            headers=self._height - self._start + 1,
            retargets=self._retargets,
            changed=self._changed,
            trusted=self._trusted,
        )

    def base(self) -> Base:
        """The tip as what later headers stand on; only of a chain that began at block 0."""
        assert self._start == 0
        assert self._window_time is not None
        return Base(
            hash=self._hash,
            height=self._height,
            bits=self._bits,
            times=tuple(self._times),
            chainwork=self._chainwork,
            window_time=self._window_time,
        )

    def feed(self, records: bytes) -> None:
        """Verify the next headers. Raises a leaf of `errors`, or `BitsInvalid`, for the first one
        that breaks a rule.
        """
        if len(records) % HEADER_BYTES:
            raise HeadersCut(length=len(records))
        sha256, number = hashlib.sha256, int.from_bytes
        window, every = self._parameters.window, self._parameters.retarget == "asert"
        for at in range(0, len(records), HEADER_BYTES):
            header = records[at : at + HEADER_BYTES]
            height = self._height + 1
            bits = number(header[72:76], "little")
            if header[4:36] != self._hash:
                self._check_unlinked(height, header[4:36])
            turning = every or height % window == 0 or bits != self._bits
            target = self._check_bits(height, bits) if turning else self._target
            digest = sha256(sha256(header).digest()).digest()
            if number(digest, "little") > target and (height or digest != self._genesis):
                raise HashTooHigh(height=height, hash=display_hash(digest), target=target)
            time = number(header[68:72], "little")
            self._check_time(height, time)
            if height == 0 and self._genesis is not None and digest != self._genesis:
                expected = display_hash(self._genesis)
                raise GenesisMismatch(given=display_hash(digest), expected=expected)
            if turning:
                self._turn(height, bits, target, time)
            self._height, self._hash = height, digest
            self._times.append(time)
            self._time_max = max(self._time_max, time)
            self._chainwork += self._work

    def _check_unlinked(self, height: int, parent: bytes) -> None:
        """A parent that is not the last header: only the first one above block 0 may have it."""
        if height != self._start or height == 0:
            raise HeaderUnlinked(
                height=height, given=display_hash(parent), expected=display_hash(self._hash)
            )

    def _check_bits(self, height: int, bits: int) -> int:
        """The target of `bits`, which are the expected ones, or trusted where nothing tells."""
        expected = self._expected_bits(height)
        if expected is None:
            target = target_of(bits)
            if target > self._limit:
                limit = self._parameters.limit_bits
                raise TargetTooEasy(height=height, given=bits, limit=limit)
            return target
        if bits != expected:
            raise BitsUnexpected(height=height, given=bits, expected=expected)
        return target_of(bits)

    def _expected_bits(self, height: int) -> int | None:
        if height == self._start:
            return None
        if self._parameters.retarget == "asert":
            if height == 1:
                return self._bits
            assert self._anchor is not None
            return retarget_asert(
                anchor=self._anchor,
                height=height - 1,
                time=self._times[-1],
                parameters=self._parameters,
            )
        if height % self._parameters.window:
            return self._bits
        if self._window_time is None:
            return None
        return retarget_window(
            bits=self._bits,
            first_time=self._window_time,
            last_time=self._times[-1],
            parameters=self._parameters,
        )

    def _check_time(self, height: int, time: int) -> None:
        check_not_ahead(height=height, time=time, now=self._now, parameters=self._parameters)
        if height == self._start:
            return
        median_known = self._start == 0 or len(self._times) == MEDIAN_SPAN
        if time <= self._time_max and median_known:  # a new maximum is above every median
            check_after(height=height, time=time, times=tuple(self._times))
        check_against_parent(
            height=height, time=time, parent_time=self._times[-1], parameters=self._parameters
        )

    def _turn(self, height: int, bits: int, target: int, time: int) -> None:
        """Go on with the bits of a header that may differ from those before it."""
        asert = self._parameters.retarget == "asert"
        if height > self._start:
            if not asert and self._window_time is None:
                self._trusted += 1
            else:
                self._retargets += 1
                self._changed += bits != self._bits
        if height % self._parameters.window == 0:
            self._window_time = time
        if height == 0 and asert:
            self._anchor = Anchor(height=1, bits=bits, parent_time=time)
        if bits != self._bits:
            self._bits, self._target, self._work = bits, target, work_of(target)
