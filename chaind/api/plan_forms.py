"""Transactions of a block template, written once for all who ask while its plan is the newest."""

from collections.abc import Iterator

import msgspec

from chaind.api.answers import Answer, encode_json
from chaind.node.gbt import Offer, dependencies
from chaind.node.templates import Plan
from chaind.primitives.hashes import display_hash, sha256d

FIRST = 2  # `depends` counts from 1, and the commitment stands before what is paid


class TemplateTransaction(Answer, frozen=True, kw_only=True):
    """A transaction of a template; `depends` are places in the list, from 1. Fees in base units."""

    data: str
    txid: str
    hash: str
    depends: list[int]
    fee: int
    sigops: int
    required: bool


class PlanForms:
    """See the module."""

    def __init__(self) -> None:
        self._id = ""
        self._written = msgspec.Raw(b"[]")

    def of(self, offer: Offer) -> msgspec.Raw:
        """The list of an offer's transactions, in JSON."""
        if offer.id != self._id:
            self._written = msgspec.Raw(encode_json(list(_transactions(offer.plan))))
            self._id = offer.id
        return self._written


def _transactions(plan: Plan) -> Iterator[TemplateTransaction]:
    leaf = display_hash(sha256d(plan.committed))
    yield TemplateTransaction(
        data=plan.committed.hex(),
        txid=leaf,
        hash=leaf,
        depends=[],
        fee=0,
        sigops=0,
        required=True,
    )
    depends = dependencies(plan.transactions)
    for transaction, fee, before in zip(plan.transactions, plan.fees, depends, strict=True):
        leaf = display_hash(transaction.wtxid)
        yield TemplateTransaction(
            data=transaction.raw.hex(),
            txid=leaf,
            hash=leaf,
            depends=[FIRST + index for index in before],
            fee=fee,
            sigops=0,
            required=False,
        )
