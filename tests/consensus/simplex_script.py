"""The language of the step tables: `event => effects`, one line per step.

All effects of the watched kinds must come, in order. Four validators unless said otherwise: Q = 3,
F = 4, T = 2; validator v mod 4 leads view v; the core under test is validator 3, or that of a first
line `me 0`. A line without `=>` expects nothing.

    start | fire VIEW | work on | synced 2          built a 1 [parent view]
    FIRST 2 1 a        voter 2, view 1, block a     propose a 1 [parent view [justification…]]
    NOTAR 1 a          a certificate of the others  ok a · untimely a · never a
    status 4 2         a peer in view 4, final 2    get 1 3
"""

import pytest
from simplex_kit import (
    GENESIS,
    block,
    certificate,
    digest,
    make_core,
    show,
    vote,
)

from chaind.consensus.core import (
    CandidateBuilt,
    Certificates,
    CheckedBlock,
    Event,
    GetCertificates,
    Message,
    Persisted,
    Propose,
    Start,
    StatusMessage,
    TimerFired,
    TimerId,
    Verdict,
    Votes,
    WorkChanged,
)
from chaind.primitives.votes import Certificate, CertificateKind, VoteKind

PEER = 9  # the handle under which every message comes
QUIET = ("log", "timer", "cancel", "show", "status")  # left out unless a table watches them


def parse(text: str, me: int | None) -> Event:
    """The event of one script line, for that validator."""
    word, *args = text.split()
    match word:
        case "start":
            return Start(())
        case "fire":
            return TimerFired(TimerId[args[0]])
        case "work":
            return WorkChanged(args[0] == "on")
        case "synced":
            return Persisted(int(args[0]))
        case "ok" | "untimely" | "never":
            return CheckedBlock(digest(args[0]), Verdict[word.upper()])
        case "built":
            return CandidateBuilt(block(args[0], int(args[1]), *parent(args[2:])))
        case "status":
            view, final_view = int(args[0]), int(args[1])
            return Message(PEER, StatusMessage(1, view, final_view, digest("?")))
        case "get":
            return Message(PEER, GetCertificates(int(args[0]), int(args[1])))
        case "propose":
            ref = block(args[0], int(args[1]), *parent(args[2:4]))
            why = tuple(parse_certificate(one.replace(".", " "), me) for one in args[4:])
            first = vote(ref.view % 4, VoteKind.FIRST, ref.view, ref.hash)
            return Message(PEER, Propose(ref, why, first))
    if word in CertificateKind.__members__:
        return Message(PEER, Certificates((parse_certificate(text, me),)))
    named = None if len(args) < 3 or args[2] == "⊥" else args[2]
    one = vote(int(args[0]), VoteKind[word], int(args[1]), named)
    return Message(PEER, Votes((one,)))


def parent(args: list[str]) -> tuple[str, int]:
    """Parent and its view; genesis when not said."""
    return (args[0], int(args[1])) if args else (GENESIS, 0)


def parse_certificate(text: str, me: int | None) -> Certificate:
    """`NOTAR 1 a`: by three others' FALLBACK or NULLIFY where the kind has it; FAST by all."""
    word, view, *named = text.split()
    kind = CertificateKind[word]
    others = [voter for voter in range(4) if voter != me][:3]
    voters = (range(4), ()) if kind is CertificateKind.FAST else (others, ())
    if kind in (CertificateKind.NOTAR, CertificateKind.NULL):
        voters = ((), others)
    return certificate(kind, int(view), named[0] if named else None, *voters)


def run(script: str, *, n: int = 4, me: int | None = 3) -> None:
    """Play a script; compare what comes out, line by line.

    Lines before the first event set the scene: `me 0` (or `me none`), `validators 1`,
    `watch log timer`: further kinds of effects to be listed.
    """
    lines = list(filter(None, map(str.strip, script.splitlines())))
    watched: list[str] = []
    while lines[0].split()[0] in ("me", "validators", "watch"):
        word, *args = lines.pop(0).split()
        if word == "watch":
            watched = args
        elif word == "me":
            me = None if args[0] == "none" else int(args[0])
        else:
            n = int(args[0])
    core = make_core(n, me)
    quiet = tuple(word for word in QUIET if word not in watched)
    for number, line in enumerate(lines, 1):
        given, _, wanted = (part.strip() for part in line.partition("=>"))
        seen = [show(effect) for effect in core.step(parse(given, me))]
        visible = [one for one in seen if not one.startswith(quiet)]
        # `@seq` and `from peer` are of interest only to the tables that spell them out.
        if "@" not in script:
            visible = [one.partition(" @")[0] for one in visible]
        if " from " not in script:
            visible = [one.partition(" from ")[0] for one in visible]
        came = "; ".join(visible)
        assert came == wanted, f"line {number}: {line}\n  came: {came}"


def tables(scripts: dict[str, str]) -> pytest.MarkDecorator:
    """One test for each table, named by what it shows."""
    return pytest.mark.parametrize("script", scripts.values(), ids=scripts.keys())
