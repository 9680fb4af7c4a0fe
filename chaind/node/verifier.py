"""Signature checks in batches: a few on the loop, many in processes of their own.

Threads do not pay here: a check holds the GIL only for moments, but has to win it back from a busy
loop every time. A worker process gets (key, digest, signature) triples, which are public, and
answers a byte each. Workers start with the first large batch.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from chaind.ledger.checks import Checked, verify_signatures
from chaind.ledger.errors import BadSignature
from chaind.primitives.errors import LocalFault
from chaind.primitives.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, BadPublicKey, verify

INLINE_SIGNATURES_MAX = 24  # half a millisecond of the loop; a round trip costs as much
TRIPLE_BYTES = PUBLIC_KEY_BYTES + 32 + SIGNATURE_BYTES
SLICE_SIGNATURES = 256  # what one worker is given at a time: 8 ms of work
LENGTH_BYTES = 4


class VerifierDied(LocalFault):
    """A worker process ended while it was needed."""

    code = "verifier-died"
    text = "a signature worker ended with status {status}"
    advice = "Look for the out-of-memory killer in the kernel log, then start the node again."
    exit_code = 71  # EX_OSERR


class _Worker:
    """One process; requests are answered in order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self.waiting = 0

    @classmethod
    async def start(cls) -> "_Worker":
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "chaind.node.verifier",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=Path(__file__).parents[2],
                start_new_session=True,  # Ctrl-C is the node's to handle
            )
        )

    async def verify(self, triples: bytes) -> bytes:
        """One byte per triple, 1 where it verifies."""
        count = len(triples) // TRIPLE_BYTES
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        self.waiting += count
        try:
            async with self._turn:
                stdin.write(count.to_bytes(LENGTH_BYTES, "little") + triples)
                await stdin.drain()
                return await stdout.readexactly(count)
        except (OSError, asyncio.IncompleteReadError):
            raise VerifierDied(status=await self._process.wait()) from None
        finally:
            self.waiting -= count

    async def stop(self) -> None:
        """End of input ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


class Verifier:
    """Checks the signatures of transactions. `processes` 0 does everything on the loop."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._workers: list[_Worker] = []
        self._starting = asyncio.Lock()

    async def verify(self, batch: Sequence[Checked]) -> list[BadSignature | None]:
        """The error of each transaction, None where all its signatures verify."""
        count = sum(len(demand.signatures) for checked in batch for demand in checked.demands)
        if count <= INLINE_SIGNATURES_MAX or not self._processes:
            return [_verify(checked) for checked in batch]
        async with self._starting:
            while len(self._workers) < self._processes:
                self._workers.append(await _Worker.start())
        triples = [
            public_key + checked.transaction.sighash + signature
            for checked in batch
            for demand in checked.demands
            for public_key, signature in demand.signatures
        ]
        slices = [
            b"".join(triples[start : start + SLICE_SIGNATURES])
            for start in range(0, count, SLICE_SIGNATURES)
        ]
        good = b"".join(await asyncio.gather(*map(self._dispatch, slices)))
        if good.count(1) == count:
            return [None] * len(batch)
        return _blame(batch, good)

    async def _dispatch(self, triples: bytes) -> bytes:
        return await min(self._workers, key=lambda worker: worker.waiting).verify(triples)

    async def stop(self) -> None:
        """End the worker processes."""
        for worker in self._workers:
            await worker.stop()
        self._workers = []


def _verify(checked: Checked) -> BadSignature | None:
    try:
        verify_signatures(checked)
    except BadSignature as error:
        return error
    return None


def _blame(batch: Sequence[Checked], good: bytes) -> list[BadSignature | None]:
    """Each transaction's first bad signature."""
    results: list[BadSignature | None] = []
    answers = iter(good)
    for checked in batch:
        keys = [key for demand in checked.demands for key, _ in demand.signatures]
        bad = [key for key in keys if not next(answers)]
        results.append(BadSignature(key=bad[0].hex()) if bad else None)
    return results


def serve() -> None:
    """A worker's life: read requests from standard input, answer on standard output."""
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while len(head := source.read(LENGTH_BYTES)) == LENGTH_BYTES:
        count = int.from_bytes(head, "little")
        data = source.read(count * TRIPLE_BYTES)
        answers = bytearray(count)
        for index in range(count):
            triple = data[index * TRIPLE_BYTES : (index + 1) * TRIPLE_BYTES]
            key, digest = triple[:PUBLIC_KEY_BYTES], triple[PUBLIC_KEY_BYTES:-SIGNATURE_BYTES]
            try:
                answers[index] = verify(key, digest, triple[-SIGNATURE_BYTES:])
            except BadPublicKey:
                answers[index] = 0
        target.write(answers)
        target.flush()


def default_processes() -> int:
    """One per core that this process may use."""
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    serve()
