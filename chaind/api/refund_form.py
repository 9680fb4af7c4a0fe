"""A refund in an answer: of its own routes, and of the payment that it gives back."""

from chaind.api.answers import Answer
from chaind.api.context import Api
from chaind.node.refunds import Given
from chaind.primitives.amounts import format_amount


class RefundForm(Answer, frozen=True, kw_only=True):
    """A final refund. `key` stands for its Idempotency-Key; `amounts` are by asset."""

    tx_id: str
    payee: str
    number: int
    key: str
    amounts: dict[str, str]
    memo: str | None
    height: int
    time_ms: int


def refund_form(api: Api, payee: bytes, given: Given) -> RefundForm:
    """The form of a refund."""
    try:
        memo: str | None = given.text.decode("utf-8")
    except UnicodeDecodeError:
        memo = None
    return RefundForm(
        tx_id=given.txid.hex(),
        payee=api.forms.show(payee),
        number=given.memo.number,
        key=given.memo.key.hex(),
        amounts={
            api.forms.symbol(asset): format_amount(units) for asset, units in given.sums.items()
        },
        memo=memo,
        height=given.height,
        time_ms=given.time_ms,
    )
