"""A header in its place in the block tree, and what is known of its body."""

from chaind.primitives.hashes import display_hash


class Entry:
    """A header in the tree. Read it, never write it.

    `order` counts arrivals; `complete` is the arrival of the last body that was missing between it
    and the base, None while one is missing.
    """

    __slots__ = (
        "bits",
        "chainwork",
        "children",
        "complete",
        "hash",
        "header",
        "height",
        "held",
        "invalid",
        "order",
        "parent",
        "time",
        "window_time",
    )

    def __init__(self, header: bytes, block_hash: bytes, parent: "Entry | None") -> None:
        self.header = header
        self.hash = block_hash
        self.parent = parent
        self.height = 0
        self.time = 0
        self.bits = 0
        self.chainwork = 0
        self.window_time = 0
        self.order = 0
        self.children: list[Entry] = []
        self.held = False
        self.complete: int | None = None
        self.invalid = False

    def __repr__(self) -> str:
        return f"Entry({self.height}, {display_hash(self.hash)[:16]}…)"
