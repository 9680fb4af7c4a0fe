"""The error tree: public codes, templates that every raise fills, and blame by type.

Every room's errors are looked at, as the code of each is public.
"""

import ast
import copy
import importlib
import pickle
import pkgutil
import re
import string
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import chaind
from chaind.node.bodies import WrongBlock, WrongTransactions
from chaind.node.sync import BrokenRange
from chaind.primitives.block import HeaderMalformed, MerkleMismatch
from chaind.primitives.coinbase import CoinbaseInvalid
from chaind.primitives.errors import (
    ChaindError,
    Conflict,
    LocalFault,
    Malformed,
    NotAllowed,
    NotReady,
    PeerFault,
    RuleBroken,
    Temporary,
    TooLarge,
    TooMany,
    Unknown,
)
from chaind.primitives.votes import BadCertificate

# Only peers send what can be refused so: what clients send is decoded and checked before.
OF_BLOCKS_AND_VOTES = {
    BadCertificate,
    BrokenRange,
    CoinbaseInvalid,
    HeaderMalformed,
    MerkleMismatch,
    WrongBlock,
    WrongTransactions,
}
KINDS = (Malformed, NotAllowed, Unknown, Conflict, TooLarge, RuleBroken, TooMany, NotReady)
ABSTRACT = {ChaindError, PeerFault, Temporary, LocalFault, *KINDS}
ROOT = Path(chaind.__file__).parent


def below(cls: type[ChaindError]) -> Iterator[type[ChaindError]]:
    for child in cls.__subclasses__():
        yield child
        yield from below(child)


def all_leaves() -> list[type[ChaindError]]:
    for module in pkgutil.walk_packages(chaind.__path__, "chaind."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = {cls for cls in below(ChaindError) if cls.__module__.startswith("chaind.")}
    leaves = {cls for cls in found - ABSTRACT if "code" in vars(cls) or not cls.__subclasses__()}
    return sorted(leaves, key=lambda cls: (cls.__module__, cls.__name__))


LEAVES = all_leaves()
leaf = pytest.mark.parametrize("cls", LEAVES, ids=lambda cls: cls.__name__)


def forms(cls: type[ChaindError]) -> set[tuple[str, str]]:
    """(value, format) that a template asks for."""
    parts = string.Formatter().parse(cls.text)
    return {(name, spec or "") for _, name, spec, _ in parts if name}


def fields(cls: type[ChaindError]) -> set[str]:
    return {name for name, _ in forms(cls)}


@leaf
def test_a_leaf_says_what_is_wrong(cls: type[ChaindError]) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", cls.code)
    assert "code" in vars(cls)
    assert cls.text not in ("", "error")
    assert all(name.isidentifier() for name in fields(cls))  # values, not expressions


def advice_is_its_own(cls: type[ChaindError]) -> bool:
    """Said for this error, or for a family of its kind, not for whatever a peer may send."""
    return any("advice" in vars(one) for one in cls.__mro__ if one not in ABSTRACT)


@leaf
def test_a_leaf_says_what_to_do(cls: type[ChaindError]) -> None:
    assert cls.advice.strip(), "no advice"
    assert cls.advice[0].isupper() or cls.advice[0] == "`", cls.advice
    assert cls.advice.endswith("."), cls.advice
    assert "{" not in cls.advice, "advice is no template"
    assert cls.advice.rstrip(".") != cls.text
    by_peers_alone = cls.__module__.startswith(("chaind.network.", "chaind.consensus."))
    if not (issubclass(cls, PeerFault) and (by_peers_alone or cls in OF_BLOCKS_AND_VOTES)):
        assert advice_is_its_own(cls), "a client or a person may meet it"


@leaf
def test_a_leaf_says_by_its_type_what_follows(cls: type[ChaindError]) -> None:
    assert issubclass(cls, (*KINDS, PeerFault, Temporary, LocalFault))
    assert not (issubclass(cls, PeerFault) and issubclass(cls, LocalFault))


@leaf
def test_errors_survive_pickling_and_copying(cls: type[ChaindError]) -> None:
    error = cls(**{name: 7 if spec else f"<{name} {{brace}}>" for name, spec in forms(cls)})
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is cls
        assert again.values == error.values
        assert str(again) == str(error)


def test_codes_are_unique() -> None:
    assert len(LEAVES) > 30
    times = Counter(cls.code for cls in LEAVES)
    shared = [cls for cls in LEAVES if times[cls.code] > 1]
    assert not shared


def named_in(path: Path) -> dict[str, type[ChaindError]]:
    """Leaves by the names under which a source file knows them."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    module = sys.modules.get(".".join(parts))
    values = vars(module) if module else {}
    return {name: value for name, value in values.items() if value in LEAVES}


def test_every_error_is_given_what_its_template_says() -> None:
    """A value left out is a KeyError in place of the error, on a path that is rarely walked."""
    seen = 0
    for path in sorted(ROOT.rglob("*.py")):
        leaves = named_in(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name):
                cls, given, arguments = leaves.get(node.exc.id), set(), []
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                cls, arguments = leaves.get(node.func.id), node.args
                given = {keyword.arg for keyword in node.keywords}
            else:
                continue
            if cls is None or None in given:  # another class; or values passed on as a whole
                continue
            seen += 1
            place = f"{path.name}:{node.lineno}: {cls.__name__}"
            assert fields(cls) <= given, f"{place} without {fields(cls) - given}"
            assert not arguments, f"{place} takes keyword values"
    assert seen > 100


def test_blame_is_a_type() -> None:
    assert issubclass(TooMany, Temporary)
    assert issubclass(NotReady, Temporary)
    assert LocalFault.exit_code == 70  # EX_SOFTWARE
    assert not any(issubclass(kind, (PeerFault, LocalFault)) for kind in KINDS)
