"""How hard a miner's shares are, so that so many of them come a minute, whatever its rate.

Shares come at random: of n that are due, about n ± √n come. So a miner's rate is judged by many
shares or over a long time, and judged early only where it is far off.
"""

from math import sqrt

from chaind.miner.jobs import share_hashes

SHARES_PER_MINUTE = 15.0  # where nobody wishes for others
DIFFICULTY_MIN = 2.0**-20  # a thousand hashes a second: 15 shares a minute
DIFFICULTY_MAX = 2.0**60
START = 2.0**-12  # a processor's core sends a hundred a minute of these, until it is judged
JUDGED_SHARES_MIN = 8  # fewer say too little
JUDGED_S_MIN = 30.0  # unless so long nothing came
JUDGED_S_MAX = 300.0  # then what was seen begins to be forgotten
SURE = 4.0  # standard deviations: a miner is judged again and again
NEAR_ENOUGH = 0.8, 1.25  # of what is due
EASY = 0.2  # of the difficulty: many such shares tell as much as few that are hard
STEP_MAX = 64.0  # in one change
QUICK_PER_SECOND = 10.0  # a miner for whom blocks are easy need not send more of them


class Vardiff:
    """One miner's difficulty. Times are monotonic seconds.

    `floor` is the lowest difficulty that the server hands out, at most `START`.
    """

    def __init__(
        self,
        now_s: float,
        *,
        floor: float = DIFFICULTY_MIN,
        shares_per_minute: float = SHARES_PER_MINUTE,
    ) -> None:
        self._floor = floor
        self._due_s = 60.0 / shares_per_minute
        self.difficulty = max(START, floor)
        self._since_s = now_s
        self._judged = False
        self._shares = 0.0  # in units of the present difficulty
        self._count = 0

    def suggest(self, difficulty: float, now_s: float) -> bool:
        """The miner knows better where to begin. True where the difficulty changes."""
        self._judged = False
        return self._set(difficulty, now_s)

    def share(self, difficulty: float, now_s: float) -> bool:
        """A share that was accepted, of the difficulty that its job had. True for a change."""
        self._shares += difficulty / self.difficulty
        self._count += 1
        return self.judge(now_s)

    def judge(self, now_s: float) -> bool:
        """Look at what has come. True where the difficulty changes."""
        passed_s = max(now_s - self._since_s, 1e-3)
        due = passed_s / self._due_s
        weight = self._shares / self._count if self._count else 1.0
        if weight > EASY:
            weight = 1.0
        enough = self._shares >= JUDGED_SHARES_MIN * weight or passed_s >= JUDGED_S_MIN
        if not enough:
            return False
        if abs(self._shares - due) > SURE * sqrt(weight * max(due, self._shares)):
            times = (self._shares + 0.5 * weight) / due
            self._judged = True
            return self._set(self.difficulty * min(max(times, 1 / STEP_MAX), STEP_MAX), now_s)
        if passed_s > JUDGED_S_MAX:
            times = self._shares / due
            self._judged = True
            near = NEAR_ENOUGH[0] < times < NEAR_ENOUGH[1]
            return self._set(self.difficulty * (1.0 if near else times), now_s)
        return False

    @property
    def quick(self) -> float:
        """A difficulty of which `QUICK_PER_SECOND` shares come, or what is due if that is more.

        0 as long as no more is known than what the miner suggests.
        """
        per_due = max(1.0, QUICK_PER_SECOND * self._due_s)
        return self.difficulty / per_due if self._judged else 0.0

    @property
    def hashes_per_second(self) -> float:
        """What the difficulty is right for."""
        return share_hashes(self.difficulty) / self._due_s

    def _set(self, difficulty: float, now_s: float) -> bool:
        difficulty = min(max(difficulty, self._floor), DIFFICULTY_MAX)
        self._since_s, self._shares, self._count = now_s, 0.0, 0
        changed, self.difficulty = difficulty != self.difficulty, difficulty
        return changed
