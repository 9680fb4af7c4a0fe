"""A process that checks signatures for a node: packed checks come in, a byte for each goes out.

A request is the number of its checks, 4 bytes big-endian, and the checks. Answers follow in the
order of the requests. The process ends when its input does, and so with its node in any case.
"""

import os
import signal
import sys

from chaind.primitives.keys import CHECK_BYTES, verify_packed

COUNT_BYTES = 4
NICENESS = 5  # where cores are short, the node's loop comes first: all else waits for it


def main() -> None:
    """Serve standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the node, which closes our input
    os.nice(NICENESS)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while head := requests.read(COUNT_BYTES):
        size = int.from_bytes(head, "big") * CHECK_BYTES
        checks = requests.read(size)
        if len(checks) < size:  # the node ended in the middle of a request
            return
        try:
            answers.write(verify_packed(checks))
            answers.flush()
        except BrokenPipeError:  # it ended meanwhile
            os._exit(0)  # without another try to flush


if __name__ == "__main__":
    main()
