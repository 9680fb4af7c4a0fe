"""The JSON form of a transaction leads back to the same bytes, whatever stands in it."""

import msgspec
import pytest
from api_kit import ALICE, BOB, NOBODY, make_genesis

from chaind.api.bodies import convert, parse_json
from chaind.api.forms import FieldInvalid, Forms, TransactionForm
from chaind.api.problems import BodyMalformed
from chaind.primitives.address import AddressInvalid, key_address, policy_address
from chaind.primitives.amounts import AMOUNT_MAX, AmountInvalid
from chaind.primitives.codec import encode
from chaind.primitives.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    CreateMarket,
    Kind,
    Market,
    PlaceOrder,
    SelfTrade,
    Side,
    Terms,
    TimeInForce,
    Trigger,
)
from chaind.primitives.policy import parse_policy
from chaind.primitives.transaction import (
    AccountInput,
    AccountOutput,
    Action,
    Body,
    Burn,
    CoinInput,
    CoinOutput,
    Issue,
    KeyWitness,
    Lease,
    Mint,
    PolicyWitness,
    Transaction,
    Witness,
)

FORMS = Forms(make_genesis())
A, B = key_address(ALICE.public), key_address(BOB.public)
POLICY = encode(
    parse_policy(
        f"or(and(pk({ALICE.public.hex()}),sha256({'ab' * 32})),"
        f"thresh(1,multi(1,{BOB.public.hex()},{NOBODY.public.hex()}),after(5),older(7)))"
    )
)
ACTIONS: list[Action | None] = [
    None,
    Issue("TIN", A, AMOUNT_MAX, True),
    Mint("TIN", 1),
    Burn(A, "", 12_345_678),
    PlaceOrder(A, Terms("TIN/COIN", Side.SELL, Kind.LIMIT, 5, 7, TimeInForce.GTT, 99)),
    PlaceOrder(
        B,
        Terms(
            "TIN/COIN",
            Side.BUY,
            Kind.MARKET,
            AMOUNT_MAX,
            time_in_force=TimeInForce.IOC,
            trigger=Trigger.TAKE_PROFIT,
            stop_ticks=3,
            self_trade=SelfTrade.CANCEL_BOTH,
            client_id="a-1",
        ),
    ),
    CancelOrder(A, b"\x0a" * 32),
    CancelOrders(A, "TIN/COIN", Side.SELL),
    CancelOrders(A),
    AmendOrder(A, b"\x0a" * 32, lots=1, ticks=2, stop_ticks=3, post_only=True),
    CreateMarket(A, Market("TIN/COIN", "TIN", "COIN", 10**6, 10**6, 5, fee_account=B)),
]


def sample(action: Action | None = None, lease: Lease | None = None) -> Transaction:
    witnesses: tuple[Witness, ...] = (
        KeyWitness(ALICE.public, b"\x01" * 64),
        PolicyWitness(POLICY, (1, 2), ((0, b"\x02" * 64), (2, b"\x03" * 64)), (b"\x04" * 32,)),
    )
    return Transaction(
        Body(
            1,
            b"\x05" * 8,
            b"\x06" * 8,
            None if lease is None else 1_700_000_000_000,
            lease,
            (
                CoinInput(b"\x07" * 32, 4_294_967_295),
                AccountInput(A, "", 1),
                AccountInput(A, "X", 9),
            ),
            (CoinOutput(policy_address(POLICY), 150_000_000), AccountOutput(B, "X", AMOUNT_MAX)),
            action,
            b"\xff\x00memo",
        ),
        witnesses,
    )


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("lease", [None, Lease(A, b"\x08" * 32, b"\x09" * 32)])
def test_form_and_back_is_the_same_transaction(action: Action | None, lease: Lease | None) -> None:
    transaction = sample(action, lease)
    text = msgspec.json.encode(FORMS.transaction_to_json(transaction))
    form = convert(parse_json(text), TransactionForm)
    assert FORMS.transaction_from_json(form).raw == transaction.raw


def test_form_is_readable() -> None:
    form = msgspec.to_builtins(FORMS.transaction_to_json(sample()))
    assert form["outputs"][0]["amount"] == "1.5"
    assert form["inputs"][1] == {
        "type": "account", "address": FORMS.show(A), "asset": "COIN", "amount": "0.00000001"
    }  # fmt: skip
    assert form["witnesses"][1]["policy"].startswith("or(and(pk(")


def changed(path: tuple[str | int, ...], value: object) -> bytes:
    form = msgspec.json.decode(msgspec.json.encode(FORMS.transaction_to_json(sample())))
    part = form
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return msgspec.json.encode(form)


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        (("salt",), "0g", BodyMalformed),
        (("salt",), "00 00", BodyMalformed),
        (("version",), 1 << 63, FieldInvalid),
        (("version",), -1, FieldInvalid),
        (("version",), 1.5, BodyMalformed),
        (("inputs", 0, "output_index"), -1, FieldInvalid),
        (("inputs", 1, "amount"), "-1", AmountInvalid),
        (("inputs", 1, "amount"), True, AmountInvalid),
        (("inputs", 1, "amount"), None, AmountInvalid),
        (("inputs", 1, "amount"), "0.000000001", AmountInvalid),
        (("inputs", 1, "address"), "chd1nonsense", AddressInvalid),
        (("inputs", 1, "type"), "vault", BodyMalformed),
        (("action",), {"type": "steal"}, BodyMalformed),
        (("extra",), 1, BodyMalformed),
        (("witnesses", 0, "signature"), 5, BodyMalformed),
    ],
)
def test_wrong_fields_are_refused(
    path: tuple[str | int, ...], value: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        FORMS.transaction_from_json(convert(parse_json(changed(path, value)), TransactionForm))
