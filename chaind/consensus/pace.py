"""How long to wait for a view: the stages of its timer, and back-off.

SETTLING  an unfinished ancestor has 2Δ to become final by itself
IDLE      nothing to do: a leader without work builds only after `empty_block_interval_ms`
FAILING   4Δ + 2 × block budget, × 1.5 per failed view in a row: the view should end within
EXPIRED   it did not: FIRST(⊥)

Waiting in stages makes "re-arm to the shorter" a step forward that never puts the end off.
"""

from enum import IntEnum

from chaind.consensus.core import Timing

BACKOFF_MAX = 16  # times the base; beyond it a healed network would take minutes to notice
_LEVEL_MAX = 7  # the first power of 1.5 above BACKOFF_MAX


class Stage(IntEnum):
    """Where the current view stands."""

    SETTLING = 0
    IDLE = 1
    FAILING = 2
    EXPIRED = 3


class Pace:
    """The stage of the current view. Methods that return ms mean: set the timer to it."""

    __slots__ = ("_level", "_timing", "has_work", "settled", "stage")

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._level = 0  # failed views in a row, less finalised ones
        self.has_work = False
        self.settled = False  # work has waited for 2Δ
        self.stage = Stage.IDLE

    @property
    def two_delta_ms(self) -> int:
        """2Δ, the pace of everything that repeats."""
        return 2 * self._timing.delta_ms

    def failing_ms(self) -> int:
        """The last stage's length."""
        base_ms = 4 * self._timing.delta_ms + 2 * self._timing.block_budget_ms
        powers: int = 3**self._level
        longer_ms = base_ms * powers >> self._level
        return min(longer_ms, base_ms * BACKOFF_MAX)

    def enter(self, unfinished: bool) -> int:
        """A new view."""
        if self.settled:
            return self._fail()
        if unfinished:
            self.stage = Stage.SETTLING
            return min(self.two_delta_ms, self._timing.empty_block_interval_ms)
        self.stage = Stage.IDLE
        return self._timing.empty_block_interval_ms

    def fired(self, unfinished: bool) -> int | None:
        """The view's timer ran out; None when that was its last stage."""
        rest_ms = self._timing.empty_block_interval_ms - self.two_delta_ms
        if self.stage is Stage.SETTLING and not unfinished and rest_ms > 0:
            self.stage = Stage.IDLE
            return rest_ms
        if self.stage < Stage.FAILING:
            return self._fail()
        self.stage = Stage.EXPIRED
        return None

    def settle(self) -> int | None:
        """Work has waited for 2Δ; None where that changes nothing."""
        self.settled = self.has_work
        return self._fail() if self.settled and self.stage < Stage.FAILING else None

    def failed(self) -> None:
        """The view ended without a block."""
        self._level = min(self._level + 1, _LEVEL_MAX)

    def finalised(self) -> None:
        """A view was finalised."""
        self._level = max(self._level - 1, 0)

    def _fail(self) -> int:
        self.stage = Stage.FAILING
        return self.failing_ms()
