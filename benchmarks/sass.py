"""Instructions of the GPU kernel for one double hash, by pipe, from the disassembly.

Law: a static figure. It counts the loop that hashes one nonce, without the few instructions that a
candidate takes; the rate it allows is a bound by the issue of instructions, as NVIDIA's programming
guide tables them for compute capability 8.6 to 9.0: for each multiprocessor and cycle 64 lanes of
integer addition, logic, shift and funnel shift, 64 of integer products, 128 of all together. That
integer work and products go on side by side, and that a product's upper half takes twice as long as
the lower, is assumed here and held against the clock by gpu.py.

nvcc and nvdisasm must be on the PATH, or nvdisasm named by NVDISASM. No card is needed.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from chaind.miner.gpu import Shape, source

LANES_OF_A_PIPE = 64
LANES_ISSUED = 128
UPPER_HALF_COST = 2
INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)([^;]*);")
LABEL = re.compile(r"^(\.L\w+):")
INTEGER = {"IADD3", "ISETP", "LEA", "LOP3", "PRMT", "SEL", "SHF", "VIADD"}


class ToolMissing(Exception):
    """nvcc or nvdisasm."""


class Counted(NamedTuple):
    """Instructions of a nonce: in the integer pipe, products, upper halves of products, others."""

    integer: float
    products: float
    upper_halves: float
    others: float

    @property
    def all(self) -> float:
        """Together."""
        return sum(self)

    @property
    def cycles(self) -> float:
        """Of a multiprocessor, for one double hash, by the busiest of the pipes and the issue."""
        products = self.products + UPPER_HALF_COST * self.upper_halves
        return max(max(self.integer, products) / LANES_OF_A_PIPE, self.all / LANES_ISSUED)

    def bound(self, *, processors: int, clock_ghz: float) -> float:
        """Billion double hashes per second."""
        return processors * clock_ghz / self.cycles


def tool(name: str) -> str:
    """Where it is. Raises `ToolMissing`."""
    found = os.environ.get(name.upper()) or shutil.which(name)
    if found is None:
        raise ToolMissing(f"{name} is not on the PATH")
    return found


def disassembly(shape: Shape, architecture: str) -> str:
    """What the compiler makes of the kernel. Raises `ToolMissing`."""
    compiler, disassembler = tool("nvcc"), tool("nvdisasm")
    with tempfile.TemporaryDirectory() as directory:
        text, made = Path(directory) / "sha256d.cu", Path(directory) / "made.cubin"
        text.write_text(source())
        command = [compiler, "-cubin", f"-arch={architecture}", *shape.options]
        subprocess.run([*command, "-o", str(made), str(text)], check=True)
        done = subprocess.run(
            [disassembler, "-c", str(made)], check=True, capture_output=True, text=True
        )
    return done.stdout


def count(shape: Shape, architecture: str) -> Counted:
    """The loop's instructions. Raises `ToolMissing`."""
    operations = _loop(disassembly(shape, architecture))
    pipes: Counter[str] = Counter()
    for operation in operations:
        base, _, rest = operation.partition(".")
        if base == "IMAD":
            pipes["upper" if rest.startswith(("HI", "WIDE")) else "products"] += 1
        else:
            pipes["integer" if base in INTEGER else "others"] += 1
    counts = (pipes[name] for name in ("integer", "products", "upper", "others"))
    return Counted(*(count / shape.unroll for count in counts))


def _loop(text: str) -> list[str]:
    """Operations between the longest backward branch and its label, candidates' ones left out."""
    operations: list[str] = []
    labels: dict[str, int] = {}
    jumps: list[tuple[int, str]] = []
    for line in text.splitlines():
        if label := LABEL.match(line):
            labels[label[1]] = len(operations)
        elif instruction := INSTRUCTION.search(line):
            target = re.search(r"`\((\.L\w+)\)", instruction[2])
            if target and instruction[1].startswith("BRA"):
                jumps.append((len(operations), target[1]))
            operations.append(instruction[1])
    loops = [(labels[label], at + 1) for at, label in jumps if labels[label] < at]
    begin, end = max(loops, key=lambda loop: loop[1] - loop[0])
    rare: set[int] = set()
    for at, label in jumps:
        skipped = range(at + 1, labels[label])
        if begin <= at < labels[label] <= end and any(_is_atomic(operations[i]) for i in skipped):
            rare.update(skipped)
    kept = [operation for at, operation in enumerate(operations) if at not in rare]
    return kept[begin : end - len(rare)]


def _is_atomic(operation: str) -> bool:
    return operation.startswith(("ATOM", "RED"))
