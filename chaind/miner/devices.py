"""What mines here: cards or cores, as asked for, and why not where it cannot.

Cards are tried in a process of their own, which opens each, compiles the kernel for it and sees
that it finds a known block (`card_probe`). So whoever asks loads no CUDA, and a driver that hangs
costs a minute.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Literal

import msgspec

from chaind.miner.crew import Crew
from chaind.primitives.errors import LocalFault

TRY_S_MAX = 60.0  # the first time, drivers and compilers load from a cold disk
ADVICE_CPU = "Or mine on the processor: device cpu."
Device = Literal["auto", "gpu", "cpu"]


class GpuFault(LocalFault):
    """A card that was asked for cannot mine."""

    exit_code = 69  # EX_UNAVAILABLE


class CupyMissing(GpuFault):
    """What talks to cards is an extra."""

    code = "gpu-not-installed"
    text = "mining on a GPU needs CuPy, which is not installed beside chaind"
    advice = (
        "Install it in the repository: `.venv/bin/pip install --editable '.[miner,gpu]'`. "
        f"{ADVICE_CPU}"
    )


class CupyBroken(GpuFault):
    """It is installed, and does not load."""

    code = "gpu-library-broken"
    text = "mining on a GPU needs CuPy, which is installed but does not load: {reason}"
    advice = f"Keep one of cupy-cuda12x and cupy-cuda13x, with what it needs. {ADVICE_CPU}"


class DriverMissing(GpuFault):
    """CUDA finds no driver, or one that is older than itself."""

    code = "gpu-driver-missing"
    text = "mining on a GPU needs NVIDIA's driver, which does not answer: {reason}"
    advice = f"Install the driver, or a newer one; `nvidia-smi` shows it. {ADVICE_CPU}"


class CardMissing(GpuFault):
    """No card, or not so many."""

    code = "gpu-missing"
    text = "there is no GPU {index}: CUDA counts {count} on this machine"
    advice = f"`nvidia-smi -L` lists them, from 0 on. {ADVICE_CPU}"


class CardUnusable(GpuFault):
    """It is there, and cannot be used."""

    code = "gpu-unusable"
    text = "GPU {index} cannot mine: {reason}"
    advice = f"`nvidia-smi` may tell more of the card. {ADVICE_CPU}"


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """Names of the cards that mine, by their index, and what is wrong with others; or the code and
    values of a fault."""

    cards: dict[int, str]
    left_out: tuple[str, ...] = ()
    fault: str | None = None
    values: dict[str, str | int] = {}


def find_cards(indexes: Sequence[int], tell: Callable[[str], None]) -> dict[int, str]:
    """Cards that mine, with their names: those asked for, or all that can, and `tell` of the rest.

    Raises a `GpuFault`.
    """
    if find_spec("cupy") is None:
        raise CupyMissing
    command = [sys.executable, "-P", "-m", "chaind.miner.card_probe", *map(str, indexes)]
    first = indexes[0] if indexes else 0
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and numbers, no shell
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TRY_S_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        raise CardUnusable(index=first, reason=f"no answer in {TRY_S_MAX:.0f} s") from None
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        reason = words[-1] if words else f"its process ended with status {done.returncode}"
        raise CardUnusable(index=first, reason=reason)
    try:
        tried = msgspec.json.decode(done.stdout, type=Tried)
    except msgspec.DecodeError:
        raise CardUnusable(index=first, reason="what was said of it is not JSON") from None
    for kind in (CupyMissing, CupyBroken, DriverMissing, CardMissing, CardUnusable):
        if tried.fault == kind.code:
            raise kind(**tried.values)
    for text in tried.left_out:
        tell(text)
    return tried.cards


def choose(device: Device, indexes: Sequence[int], tell: Callable[[str], None]) -> tuple[int, ...]:
    """Indexes of the cards that are to mine, none where cores are.

    `auto` falls back to cores and tells why; `gpu` raises a `GpuFault`.
    """
    if device == "cpu":
        return ()
    try:
        return tuple(find_cards(indexes, tell))
    except GpuFault as fault:
        if device == "gpu":
            raise
        tell(f"mining on the processor, as {fault}")
        return ()


def start_crew(
    *,
    device: Device,
    indexes: Sequence[int] = (),
    intensity: int,
    threads: int,
    cpus: Sequence[int] = (),
    niceness: int = 0,
    plain: bool = False,
    tell: Callable[[str], None],
) -> Crew:
    """One process per card, or else `threads` of them. Raises a `GpuFault`, `MinerNotInstalled`.

    `tell` hears of cards once something mines: else the error says what is missing.
    """
    said: list[str] = []
    cards = choose(device, indexes, said.append)
    crew = (
        Crew.start_on_cards(cards, intensity=intensity, niceness=niceness)
        if cards
        else Crew.start(threads=threads, cpus=cpus, niceness=niceness, plain=plain)
    )
    for text in said:
        tell(text)
    return crew
