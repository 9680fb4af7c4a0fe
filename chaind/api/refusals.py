"""What a route can refuse: leaves of the error tree, by status.

What every route, every query, every body and every key of the node brings with it is found from the
row of the table; what else a handler raises the row names, with the groups that stand here.
"""

from collections.abc import Iterable
from http import HTTPStatus
from types import ModuleType

from chaind.api.bodies import BodiesFull
from chaind.api.chaos import ChaosDisabled, ChaosInvalid
from chaind.api.connections import TooManyConnections
from chaind.api.forms import FieldInvalid
from chaind.api.guards import Access, HostNotAllowed, OriginNotAllowed
from chaind.api.payments import IdempotencyKeyMissing, IdempotencyKeyRepeated
from chaind.api.problems import (
    BodyMalformed,
    BodyTooLarge,
    BodyTooSlow,
    HttpMalformed,
    MediaTypeUnsupported,
    NodeStopping,
    QueryInvalid,
    QueryUnknown,
    RateLimited,
    RouteUnknown,
    TokenNeeded,
    status_of,
)
from chaind.api.route import Route
from chaind.api.transactions import TransactionEnded
from chaind.ledger import errors as ledger
from chaind.mempool import errors as mempool
from chaind.node.durable import NotDurable
from chaind.node.payments import (
    CustodyDisabled,
    InFlight,
    KeyInvalid,
    KeyReused,
    MemoTooLong,
    NameUnknown,
    NoNamedAccounts,
)
from chaind.node.queries import TransactionUnknown
from chaind.primitives.address import AddressInvalid
from chaind.primitives.amounts import AmountInvalid
from chaind.primitives.codec import NonCanonical, Undecodable
from chaind.primitives.errors import ChaindError, LocalFault
from chaind.primitives.keys import BadPublicKey
from chaind.primitives.policy import PolicyInvalid
from chaind.storage.chain_store import BlockDamaged

Leaf = type[ChaindError]

_EVERYWHERE: tuple[Leaf, ...] = (
    HttpMalformed,
    QueryUnknown,
    HostNotAllowed,
    OriginNotAllowed,
    RateLimited,
    TooManyConnections,
    NodeStopping,
)
_OF_BODIES: tuple[Leaf, ...] = (
    BodyMalformed,
    BodyTooLarge,
    BodyTooSlow,
    BodiesFull,
    MediaTypeUnsupported,
)


def leaves(module: ModuleType) -> Iterable[Leaf]:
    """The errors that a module defines."""
    for kind in vars(module).values():
        is_error = isinstance(kind, type) and issubclass(kind, ChaindError)
        if is_error and kind.__module__ == module.__name__ and not issubclass(kind, LocalFault):
            yield kind


RULES: tuple[Leaf, ...] = tuple(
    kind
    for kind in (*leaves(ledger), *leaves(mempool))
    if not issubclass(kind, (ledger.BlockInvalid, ledger.BlockUntimely))  # of whole blocks
)
NAMES: tuple[Leaf, ...] = (AddressInvalid, NameUnknown, NoNamedAccounts)
SIGNED: tuple[Leaf, ...] = (  # a transaction in one of its forms
    AddressInvalid,
    AmountInvalid,
    BadPublicKey,
    FieldInvalid,
    NonCanonical,
    PolicyInvalid,
    Undecodable,
    NotDurable,
    *RULES,
)
GIVING: tuple[Leaf, ...] = (  # what the node builds and signs itself
    *NAMES,
    AmountInvalid,
    BlockDamaged,
    NotDurable,
    TransactionEnded,
    TransactionUnknown,
    *RULES,
)
PAYING: tuple[Leaf, ...] = (  # the same from an account, once per key where there is one
    *GIVING,
    ChaosDisabled,
    ChaosInvalid,
    CustodyDisabled,
    IdempotencyKeyMissing,
    IdempotencyKeyRepeated,
    InFlight,
    KeyInvalid,
    KeyReused,
    MemoTooLong,
)


def refusals(route: Route) -> dict[HTTPStatus, list[Leaf]]:
    """What a route can refuse, by status, each list by code. A 500 has no leaf of its own."""
    found = {*_EVERYWHERE, *route.errors}
    if route.segments:
        found.add(RouteUnknown)  # the part of the path is empty
    if route.query:
        found.add(QueryInvalid)
    if route.request is not None:
        found.update(_OF_BODIES)
    if route.access is not Access.OPEN:
        found.add(TokenNeeded)
    by_status: dict[HTTPStatus, list[Leaf]] = {}
    for leaf in sorted(found, key=lambda kind: kind.code):
        by_status.setdefault(status_of(leaf), []).append(leaf)
    return by_status
