"""One-line mistakes in the rules of mined headers and in the miner."""

from mutants import Mutant

BITS = "chaind/primitives/work.py"
RETARGET = "chaind/consensus/pow/retarget.py"
TIMES = "chaind/consensus/pow/times.py"
CHAIN = "chaind/consensus/pow/headers.py"
KERNEL = "chaind/miner/kernel.py"
WORKER = "chaind/miner/worker.py"
OF_BITS = ("tests/primitives/test_work.py",)
OF_RETARGETS = ("tests/consensus/test_retarget.py",)
OF_CHAINS = ("tests/consensus/test_header_chain.py", "tests/cli/test_headers_command.py")
OF_KERNELS = ("tests/miner/test_kernels.py",)
OF_WORKERS = ("tests/miner/test_worker.py",)


def _mistake(name: str, file: str, old: str, new: str, killers: tuple[str, ...]) -> Mutant:
    return Mutant(name, file, old, new, killers, safety=file not in (KERNEL, WORKER))


MUTANTS_OF_WORK = (
    _mistake(
        "any sign is a number's",
        BITS,
        "magnitude != 0 and bits & _SIGN != 0",
        "bits & _SIGN != 0",
        OF_BITS,
    ),
    _mistake(
        "targets of 2²⁵⁶ fit",
        BITS,
        "magnitude >> TARGET_BITS != 0",
        "magnitude >> TARGET_BITS > 1",
        OF_BITS,
    ),
    _mistake(
        "bits may read as negative",
        BITS,
        "if mantissa & _SIGN:",
        "if mantissa > _MANTISSA + 1:",
        OF_BITS,
    ),
    _mistake("work of a target one lower", BITS, "// (target + 1)", "// target", OF_BITS),
    _mistake(
        "a clamp of three", RETARGET, "ADJUSTMENT_MAX = 4", "ADJUSTMENT_MAX = 3", OF_RETARGETS
    ),
    _mistake(
        "the off-by-one corrected",
        RETARGET,
        "due_ms = parameters.window_ms",
        "due_ms = parameters.window_ms - parameters.target_spacing_ms",
        OF_RETARGETS,
    ),
    _mistake(
        "targets above the limit",
        RETARGET,
        "return max(1, min(target, target_of(parameters.limit_bits)))",
        "return max(1, min(target, 2**256 - 1))",
        OF_RETARGETS,
    ),
    _mistake(
        "a target of zero", RETARGET, "return max(1, min(", "return max(0, min(", OF_RETARGETS
    ),
    _mistake(
        "Python's division",
        RETARGET,
        "return quotient if dividend >= 0 else -quotient",
        "return dividend // divisor",
        OF_RETARGETS,
    ),
    _mistake(
        "asert anchored a block late",
        RETARGET,
        "(height - anchor.height + 1)",
        "(height - anchor.height)",
        OF_RETARGETS,
    ),
    _mistake(
        "no rounding in the polynomial",
        RETARGET,
        "(cubic + (1 << 47) >> 48)",
        "(cubic >> 48)",
        OF_RETARGETS,
    ),
    _mistake(
        "the lower median", TIMES, "span[len(span) // 2]", "span[(len(span) - 1) // 2]", OF_CHAINS
    ),
    _mistake("the median of ten", TIMES, "MEDIAN_SPAN = 11", "MEDIAN_SPAN = 10", OF_CHAINS),
    _mistake(
        "a time equal to the median", TIMES, "if time <= median:", "if time < median:", OF_CHAINS
    ),
    _mistake(
        "an interval one too short",
        TIMES,
        "* 1000 < interval_ms",
        "* 1000 + 1 < interval_ms",
        OF_CHAINS,
    ),
    _mistake(
        "any window may warp",
        TIMES,
        'parameters.retarget == "bitcoin-bip94" and ',
        "False and ",
        OF_CHAINS,
    ),
    _mistake(
        "a warp of ten minutes and a second",
        TIMES,
        "time < parent_time - WARP_MAX_S",
        "time < parent_time - WARP_MAX_S - 1",
        OF_CHAINS,
    ),
    _mistake(
        "a second too far ahead",
        TIMES,
        "(time - now) * 1000 > future_ms",
        "(time - now - 1) * 1000 > future_ms",
        OF_CHAINS,
    ),
    _mistake(
        "hashes read from the other end",
        CHAIN,
        'number(digest, "little") > target',
        'number(digest, "big") > target',
        OF_CHAINS,
    ),
    _mistake(
        "links are not looked at",
        CHAIN,
        "if header[4:36] != self._hash:",
        "if height == self._start and header[4:36] != self._hash:",
        OF_CHAINS,
    ),
    _mistake(
        "any first parent",
        CHAIN,
        "if height != self._start or height == 0:",
        "if height != self._start:",
        OF_CHAINS,
    ),
    _mistake(
        "any genesis",
        CHAIN,
        "if height == 0 and self._genesis is not None",
        "if height == 1 and self._genesis is not None",
        OF_CHAINS,
    ),
    _mistake(
        "bits change within a window",
        CHAIN,
        "        if height % self._parameters.window:\n            return self._bits\n",
        "        if height % self._parameters.window:\n            return None\n",
        OF_CHAINS,
    ),
    _mistake(
        "an unseen window is guessed",
        CHAIN,
        "        if self._window_time is None:\n            return None\n",
        "        if self._window_time is None:\n            return self._bits\n",
        OF_CHAINS,
    ),
    _mistake(
        "the first target has no limit",
        CHAIN,
        "if target > self._limit:",
        "if target > 2 * self._limit:",
        ("tests/consensus/test_header_chain.py",),
    ),
    _mistake(
        "a median is guessed",
        CHAIN,
        "self._start == 0 or len(self._times) == MEDIAN_SPAN",
        "True",
        OF_CHAINS,
    ),
    _mistake(
        "no median at all",
        CHAIN,
        "if time <= self._time_max and median_known:",
        "if time < 0 and median_known:",
        OF_CHAINS,
    ),
    _mistake(
        "work of the last header alone",
        CHAIN,
        "            self._chainwork += self._work\n",
        "            self._chainwork = self._work\n",
        OF_CHAINS,
    ),
    _mistake("a limit above the target's", KERNEL, "target >> 224", "target >> 225", OF_KERNELS),
    _mistake(
        "found means low",
        KERNEL,
        "                if meets(prefix, nonce, target):\n",
        "                if nonce >= first:\n",
        OF_KERNELS,
    ),
    _mistake(
        "a block is skipped", KERNEL, "nonce = block + step", "nonce = block + 2 * step", OF_KERNELS
    ),
    _mistake(
        "nonces beyond the range",
        KERNEL,
        "range(block, min(block + step, end))",
        "range(block, block + step)",
        OF_KERNELS,
    ),
    _mistake(
        "the first of a block alone",
        KERNEL,
        "for nonce in range(block, min(block + step, end)):",
        "for nonce in range(block, min(block + 1, end)):",
        OF_KERNELS,
    ),
    _mistake("a round too few", KERNEL, "LAST_ROUND = 60", "LAST_ROUND = 59", OF_KERNELS),
    _mistake(
        "nonces after a hit are left out",
        WORKER,
        "end if nonce is None else nonce + 1",
        "end",
        OF_WORKERS,
    ),
    _mistake(
        "stale work is finished",
        WORKER,
        "if search is None or connection.poll(pace.rest_s()):",
        "if search is None:",
        OF_WORKERS,
    ),
    _mistake(
        "pieces without end",
        WORKER,
        "max(1, min(fitting, 2 * piece, PIECE_MAX))",
        "PIECE_MAX",
        OF_WORKERS,
    ),
)
