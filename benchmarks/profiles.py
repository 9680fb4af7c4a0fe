"""Where the time of the two dearest stages goes: the functions with the most time of their own.

    python benchmarks/profiles.py

The stages of `stages.py` run under cProfile, which makes small functions look dearer than they are:
the order counts, not the sums.
"""

import cProfile
import gc
import pstats
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from common import ROOT, Table, output_options
from stages import Clock, Parts, make_chain

from chaind.cli.daemon import GC_THRESHOLDS

SHOWN = 12
STAGES = {"intake": ("check", "admit"), "finality": ("finalise", "settle")}


class ProfiledClock(Clock):
    """Profiles the stages of each group, over all blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.profiles = {group: cProfile.Profile() for group in STAGES}

    @contextmanager
    def stage(self, name: str, transfers: int) -> Iterator[None]:
        """See `Clock`."""
        groups = [group for group, names in STAGES.items() if name in names]
        with super().stage(name, transfers):
            for group in groups:
                self.profiles[group].enable()
            yield
            for group in groups:
                self.profiles[group].disable()


def rows(profile: cProfile.Profile, transfers: int) -> Iterator[tuple[str, float, float]]:
    """(function, calls, own microseconds) per transfer, the dearest first."""
    found = pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    for (file, line, name), (_, calls, own_s, _, _) in sorted(found, key=lambda one: -one[1][2]):
        path = Path(file)
        where = f"{path.relative_to(ROOT)}:{line} " if path.is_relative_to(ROOT) else ""
        yield f"{where}{name}", calls / transfers, own_s * 1e6 / transfers


@click.command()
@click.option("--batch", type=int, default=1_000, show_default=True, help="Transfers a block.")
@click.option("--blocks", type=int, default=20, show_default=True)
@output_options
def main(batch: int, blocks: int, as_json: bool, record: bool) -> None:
    """Profile of the two dearest stages."""
    table = Table("profiles", "The two dearest stages, by function")
    gc.set_threshold(*GC_THRESHOLDS)  # as a node does
    clock = ProfiledClock()
    orders = make_chain(10_000, batch * blocks, batch)
    with tempfile.TemporaryDirectory(prefix="chaind-bench-") as directory:
        parts = Parts(Path(directory, "node"), orders.genesis, clock)
        for view in range(1, blocks + 1):
            head = b"\xdd" + batch.to_bytes(4, "big")
            body = head + orders.batch(view - 1).body
            parts.take_in(msgspec.msgpack.decode(body, type=list[bytes]))
            parts.finalise(parts.build(view))
        parts.disk.close()
    for group, stages in STAGES.items():
        for index, (name, calls, own_us) in enumerate(rows(clock.profiles[group], batch * blocks)):
            if index == SHOWN:
                break
            table.add(f"{group}: {name}, {calls:.2f} calls", own_us, "µs/transfer")
        table.note(f"{group}: stages {' and '.join(stages)} of stages.py.")
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    main()
