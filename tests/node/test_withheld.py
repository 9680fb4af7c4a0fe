"""What nobody gives is not waited for, and finding that out does not cost a walk at each tick."""

from chaind.node.withheld import Withheld

LENGTH = 1_000
PATIENCE_MS = 100.0


class Header:
    """An entry of a tree whose body is missing; steps from it to its parent are counted."""

    steps = 0

    def __init__(self, parent: "Header | None") -> None:
        self._parent = parent
        self.height = 0 if parent is None else parent.height + 1
        self.held = parent is None
        self.complete = 0 if parent is None else None

    @property
    def parent(self) -> "Header | None":
        Header.steps += 1
        return self._parent


class Headers:
    """A tree, as far as it is asked."""

    def __init__(self) -> None:
        self.base = self.best = Header(None)

    def grow(self, parent: Header, number: int) -> Header:
        for _ in range(number):
            parent = Header(parent)
        self.best = parent
        return parent


def test_a_long_branch_without_bodies_is_walked_once() -> None:
    tree = Headers()
    withheld = Withheld(tree, PATIENCE_MS, 0.0)  # type: ignore[arg-type]
    tree.grow(tree.base, LENGTH)
    assert withheld.awaited(LENGTH) == LENGTH
    withheld.tick(LENGTH, PATIENCE_MS)
    assert withheld.awaited(LENGTH) == 0
    Header.steps = 0
    for tick in range(100):
        withheld.tick(LENGTH, PATIENCE_MS + tick)
        assert withheld.awaited(LENGTH) == 0
    tree.grow(tree.best, 5)
    assert withheld.awaited(LENGTH + 5) == 0
    assert Header.steps <= 10, "two for each new header"


def test_another_branch_is_awaited_anew() -> None:
    tree = Headers()
    withheld = Withheld(tree, PATIENCE_MS, 0.0)  # type: ignore[arg-type]
    given_up = tree.grow(tree.base, 3)
    withheld.tick(3, PATIENCE_MS)
    assert withheld.awaited(3) == 0
    other = tree.grow(tree.base, 4)
    assert withheld.awaited(4) == 4
    tree.best = given_up
    assert withheld.awaited(3) == 0
    tree.best = other
    withheld.tick(4, 2 * PATIENCE_MS)
    assert withheld.awaited(4) == 0
