"""Every interleaving of one view at n = 4, f = 1, driven through the real core.

One validator is Byzantine and may send any vote and any certificate that its vote can complete, to
anyone, at any time; the three honest ones hear, time out, get bodies and crash in any order.

What makes it small, and why nothing is lost:

* An honest core is a function of its own history, so its steps are computed once per distinct
  local state (by replaying one history that leads there on a fresh core) and then looked up.
* Honest validators of equal weight are interchangeable: a node remembers how many FIRST votes for
  each block it heard, not of whom, and the global state is a sorted tuple of local states.
* FALLBACK, NULLIFY and FINALIZE votes act on others only through certificates. So certificates are
  delivered whole, as soon as the votes said by honest nodes and one Byzantine voter add up: every
  delivery of single votes ends a view at such a moment, or later.
* FINAL and FAST only silence the node that gets them; a node that is never scheduled again does the
  same. They are judged from outside, on all that was said.
* What others may receive depends on what a node has said, and that only grows. So whatever a node
  receives in silence can be put off until it speaks next: states are kept right after a node said
  something, and silent histories are followed per node (`Scene.moves`).
* After a view has ended, FIRST votes and timers change nothing in it (rules 3, 4, 5 are over).
* A vote leaves only when it is durable. A crash before that is a crash before the vote: restarting
  from the log alone, at any moment, covers every loss of unsynced records.
* A proposal comes with its body and verdict: without them it is the leader's FIRST vote and no
  more, which may come by itself.
* The two blocks of a Byzantine leader are interchangeable too. Two do for it: a third can only
  split FIRST votes further, as ⊥ does.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from simplex_machine import DECIDED, LEADER, NULL, Action, Local, Machine, Said, Violation

from chaind.consensus.quorums import Quorums
from chaind.consensus.simplex import Simplex
from chaind.primitives.votes import VoteKind


class Around(NamedTuple):
    """What the other two have said, as far as one node can tell: all it needs to know of them."""

    firsts: tuple[int, ...]  # followers who said FIRST, per name
    support: tuple[int, ...]  # nodes that count for NOTAR of a block or for NULL, per name
    lead: str  # the honest leader's FIRST


class Moves(NamedTuple):
    """Where one node may go by itself."""

    spoken: tuple[int, ...]  # states right after it said something new
    may_hang: bool  # whether it can have received all it is owed, unended, with nothing to say


class Scene:
    """Who is Byzantine, and which machine each honest validator is."""

    def __init__(
        self,
        *,
        byzantine_leader: bool,
        restarts: bool,
        kind: type[Simplex] = Simplex,
        quorums: Callable[[], Quorums] = lambda: Quorums([1] * 4),
    ) -> None:
        self.byzantine_leader = byzantine_leader
        self.restarts = restarts
        self.blocks = ("a", "b") if byzantine_leader else ("a",)
        self.names = (*self.blocks, NULL)
        bad = LEADER if byzantine_leader else 3
        follower = Machine(0, bad, kind, quorums)
        leader = follower if byzantine_leader else Machine(LEADER, bad, kind, quorums)
        self.machines = (leader, follower, follower)
        self.limits = quorums()
        self.known: dict[tuple[bool, int, Around], Moves] = {}
        self.combinations: dict[tuple[Said, ...], tuple[Around, ...]] = {}
        self.seen: Counter[str] = Counter()

    def explore(self) -> int:
        """Visit every state; how many there are. Raises `Violation`."""
        start = tuple(machine.start for machine in self.machines)
        seen, stack = {start}, [start]
        while stack:
            state = stack.pop()
            said = tuple(
                machine.locals[n].said for machine, n in zip(self.machines, state, strict=True)
            )
            arounds = self.arounds(said)
            hanging = 0
            for index in range(3):
                moves = self.moves(index, state[index], arounds[index])
                hanging += moves.may_hang
                for after in moves.spoken:
                    new = self.sort((*state[:index], after, *state[index + 1 :]))
                    if new not in seen:
                        seen.add(new)
                        stack.append(new)
            # (b) If one node holds a certificate it is owed to the others; so all hang, or none.
            if hanging == 3:
                raise Violation(f"the view never ends: {[set(one) for one in said]}")
        return len(seen)

    def sort(self, state: tuple[int, ...]) -> tuple[int, ...]:
        """The same state, interchangeable validators and blocks in one order."""
        if not self.byzantine_leader:
            return (state[0], *sorted(state[1:]))
        mirror = self.machines[0].mirror
        return min(tuple(sorted(state)), tuple(sorted(map(mirror, state))))

    def arounds(self, said: tuple[Said, ...]) -> tuple[Around, ...]:
        """What the others have said, for each node. The combination is checked when new."""
        known = self.combinations.get(said)
        if known is None:
            self.check_safe(said)
            known = tuple(self.around(said, index) for index in range(3))
            self.combinations[said] = known
        return known

    def around(self, said: tuple[Said, ...], index: int) -> Around:
        """What the others have said, for one node."""
        others = [said[i] for i in range(3) if i != index]
        followers = others if self.byzantine_leader or index == 0 else others[1:]
        return Around(
            tuple(sum((VoteKind.FIRST, name) in one for one in followers) for name in self.names),
            tuple(sum(supports(one, name) for one in others) for name in self.names),
            "" if self.byzantine_leader or index == 0 else first_of(said[0]),
        )

    def moves(self, index: int, state: int, around: Around) -> Moves:
        """Follow one node through everything it can receive without saying anything."""
        leads = index == 0 and not self.byzantine_leader
        known = self.known.get((leads, state, around))
        if known is not None:
            return known
        machine = self.machines[index]
        seen, stack, spoken, may_hang = {state}, [state], dict[int, None](), False
        while stack:
            now = stack.pop()
            me = machine.locals[now]
            owed_nothing = True
            for action, owed in self.actions(me, leads, around):
                after = machine.step(now, action)
                owed_nothing = owed_nothing and not (owed and after != now)
                if machine.locals[after].said != me.said:
                    spoken[after] = None
                elif after not in seen:
                    seen.add(after)
                    stack.append(after)
            may_hang = may_hang or (owed_nothing and not me.certificates)
        known = self.known[leads, state, around] = Moves(tuple(spoken), may_hang)
        return known

    def actions(self, me: Local, leads: bool, around: Around) -> Iterator[tuple[Action, bool]]:
        """What may happen to a node now, and whether it must, some day, without Byzantine help."""
        if me.certificates == DECIDED:
            return
        for name in me.asked:
            yield ("body", name), True
        for name, others in zip(self.names, around.support, strict=True):
            support = others + supports(me.said, name)
            if name not in me.certificates and support + 1 >= self.limits.quorum:
                yield ("certificate", name), support + (me.byzantine == name) >= self.limits.quorum
        if self.restarts:
            yield ("restart", ""), False
        if me.certificates:
            return
        if not me.expired:
            yield ("timer", ""), True
        for name, voted in zip(self.names, around.firsts, strict=True):
            if voted > me.heard.count(name):
                yield ("hear", name), True
        if self.byzantine_leader:
            for name in self.blocks:
                if name not in me.proposals:
                    yield ("propose", name), False
        elif leads:
            if me.asked_to_build and not first_of(me.said):
                yield ("built", "a"), False
        elif around.lead == "a" and not me.proposals:
            yield ("propose", "a"), True
        elif around.lead and not me.lead:
            yield ("lead", around.lead), True
        if not me.byzantine:
            for name in self.names:
                yield ("byzantine", name), False

    def check_safe(self, said: tuple[Said, ...]) -> None:
        """(a) FINAL(b) or FAST(b) never together with NULL, or NOTAR(b′)."""
        quorum = self.limits.quorum
        notar = {
            name for name in self.names if sum(supports(one, name) for one in said) + 1 >= quorum
        }
        for name in self.blocks:
            finalized = sum((VoteKind.FINALIZE, name) in one for one in said)
            first = sum((VoteKind.FIRST, name) in one for one in said)
            decided = finalized + 1 >= quorum or first + 1 >= self.limits.fast
            self.seen["decided"] += decided
            if decided and notar - {name}:
                raise Violation(
                    f"{name} may be final beside {notar - {name}}: {[set(one) for one in said]}"
                )
        self.seen["null"] += NULL in notar
        self.seen["both"] += {"a", "b"} <= notar
        self.seen["fallback"] += any(kind is VoteKind.FALLBACK for one in said for kind, _ in one)


def first_of(said: Said) -> str:
    """What a node said FIRST; "" nothing yet."""
    return next((name for kind, name in said if kind is VoteKind.FIRST), "")


def supports(said: Said, name: str) -> bool:
    """Whether what a node said counts for NOTAR of the block, or for NULL."""
    second = VoteKind.NULLIFY if name == NULL else VoteKind.FALLBACK
    return (VoteKind.FIRST, name) in said or (second, name) in said
