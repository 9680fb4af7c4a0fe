"""chaind: a blockchain node in one Python process."""

__version__ = "0.1.0"

if not __debug__:  # invariants are assertions; a node without them is not a node
    raise SystemExit("chaind refuses to run under python -O: its invariants are assertions")
