"""Fixed values for the tests of the room: the same keys, salts and times on every run."""

from typing import Any

from chaind.primitives.address import AddressFormat, key_address, policy_address
from chaind.primitives.block import BFT_BITS, Block, Commitment
from chaind.primitives.codec import encode
from chaind.primitives.coinbase import encode_coinbase
from chaind.primitives.genesis import Allocation, AssetEntry, Genesis, MarketEntry, Validator
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import SecretKey
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
from chaind.primitives.policy import After, And, Or, Pk, Policy, Sha256
from chaind.primitives.transaction import (
    NATIVE,
    VERSION,
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
    signing_digest,
)
from chaind.primitives.votes import (
    CERTIFICATE_VOTES,
    Certificate,
    CertificateKind,
    Vote,
    VoteKind,
    bitmap,
    vote_digest,
)

TIME_MS = 1_700_000_000_000
CHAIN = bytes.fromhex("c0ffee0012345678")
ADDRESSES = AddressFormat(hrp="chd", p2pkh_version=0x1C)
SALT = bytes.fromhex("0102030405060708")


def sample_key(number: int) -> SecretKey:
    return SecretKey(sha256(b"chaind sample key %d" % number))


ALICE, BOB, CAROL, DAVE = (sample_key(number) for number in range(4))
A, B, C, D = (key_address(key.public) for key in (ALICE, BOB, CAROL, DAVE))
PREIMAGE = sha256(b"chaind sample preimage")
# A hashed time lock: Bob with the preimage, or Alice after a while.
SWAP: Policy = Or(
    And(Pk(BOB.public), Sha256(sha256(PREIMAGE))),
    And(Pk(ALICE.public), After(TIME_MS)),
)
SWAP_ADDRESS = policy_address(encode(SWAP))


def sample_body(**changes: Any) -> Body:
    """Alice pays Bob 12.5 and leaves a fee; `changes` replaces fields."""
    fields: dict[str, Any] = {
        "version": VERSION,
        "chain": CHAIN,
        "salt": SALT,
        "valid_until": TIME_MS + 60_000,
        "lease": None,
        "inputs": (AccountInput(A, NATIVE, 1_250_000_200),),
        "outputs": (AccountOutput(B, NATIVE, 1_250_000_000),),
        "action": None,
        "memo": b"",
    }
    return Body(**{**fields, **changes})


def signed(body: Body, *keys: SecretKey) -> Transaction:
    digest = signing_digest(encode(body))
    return Transaction(body, tuple(KeyWitness(key.public, key.sign(digest)) for key in keys))


def swapped(body: Body) -> Transaction:
    """Bob's way through SWAP."""
    signature = BOB.sign(signing_digest(encode(body)))
    return Transaction(body, (PolicyWitness(encode(SWAP), (0,), ((0, signature),), (PREIMAGE,)),))


MARKET = Market(
    "GOLD/COIN", "GOLD", "COIN", 1_000_000, 100, 45_000, 10**9, 100, 250, 50_000, fee_account=B
)
ORDER_ACTIONS: dict[str, Action] = {
    "place order": PlaceOrder(A, Terms("GOLD/COIN", Side.BUY, Kind.LIMIT, 7, 45_000)),
    "place order with every term": PlaceOrder(
        A,
        Terms(
            "GOLD/COIN",
            Side.SELL,
            Kind.LIMIT,
            2**63 - 1,
            44_000,
            TimeInForce.GTT,
            TIME_MS,
            post_only=False,
            trigger=Trigger.STOP,
            stop_ticks=44_500,
            self_trade=SelfTrade.DECREMENT,
            client_id="desk-1/4711",
        ),
    ),
    "cancel order": CancelOrder(A, sha256(b"chaind sample order")),
    "cancel orders": CancelOrders(A),
    "cancel orders of a side": CancelOrders(A, "GOLD/COIN", Side.SELL),
    "amend order": AmendOrder(
        A, sha256(b"chaind sample order"), lots=3, ticks=44_999, stop_ticks=1, post_only=True
    ),
    "create market": CreateMarket(A, MARKET),
}


def sample_transactions() -> dict[str, Transaction]:
    """One of each form that a transaction takes."""
    coin = CoinInput(sha256(b"chaind sample coin"), 1)
    lease = Lease(A, sha256(b"order 4711"), sha256(b"intent"))
    return {
        "payment": signed(sample_body(), ALICE),
        "payment with lease and memo": signed(sample_body(lease=lease, memo=b"rent"), ALICE),
        "coins": signed(
            sample_body(
                valid_until=None,
                inputs=(coin, AccountInput(B, NATIVE, 1)),
                outputs=(CoinOutput(C, 5), CoinOutput(SWAP_ADDRESS, 6)),
            ),
            ALICE,
            BOB,
        ),
        "policy": swapped(
            sample_body(inputs=(AccountInput(SWAP_ADDRESS, "GOLD", 2**63 - 1),), outputs=())
        ),
        "issue": signed(sample_body(action=Issue("GOLD", A, 2**63 - 1, True)), ALICE),
        "mint": signed(sample_body(action=Mint("GOLD", 1)), ALICE),
        "burn": signed(sample_body(action=Burn(A, "GOLD", 128)), ALICE),
        **{name: signed(sample_body(action=act), ALICE) for name, act in ORDER_ACTIONS.items()},
    }


def sample_vote(kind: VoteKind, block: bytes | None, voter: int) -> Vote:
    signature = sample_key(voter).sign(vote_digest(sample_genesis().hash, 0, 7, kind, block))
    return Vote(0, 7, kind, block, voter, signature)


def sample_certificate(
    kind: CertificateKind, primary: tuple[int, ...], secondary: tuple[int, ...] = ()
) -> Certificate:
    """Certificate of view 7 with these voters in the two bitmaps, signatures real."""
    block = None if kind is CertificateKind.NULL else sha256(b"chaind sample block")
    signatures = []
    for voters, vote_kind in zip((primary, secondary), CERTIFICATE_VOTES[kind], strict=True):
        if vote_kind is None:
            continue
        for voter in voters:
            named = None if vote_kind is VoteKind.NULLIFY else block
            signatures.append(sample_vote(vote_kind, named, voter).signature)
    maps = (bitmap(primary), bitmap(secondary))
    return Certificate(0, 7, kind, block, *maps, tuple(signatures))


def sample_certificates() -> dict[str, Certificate]:
    return {
        "notar": sample_certificate(CertificateKind.NOTAR, (0, 2), (1,)),
        "null": sample_certificate(CertificateKind.NULL, (3,), (0, 1, 9)),
        "final": sample_certificate(CertificateKind.FINAL, (0, 1, 2)),
        "fast": sample_certificate(CertificateKind.FAST, (0, 1, 2, 3)),
    }


def sample_genesis(**changes: Any) -> Genesis:
    """Four validators, an asset, three allocations."""
    fields: dict[str, Any] = {
        "name": "sample",
        "time_ms": TIME_MS,
        "validators": tuple(
            Validator(public_key=key.public.hex(), weight=weight, name=name)
            for key, weight, name in (
                (ALICE, 1, "one"),
                (BOB, 1, "two"),
                (CAROL, 2, "three"),
                (DAVE, 3, ""),
            )
        ),
        "allocations": (
            Allocation(address=ADDRESSES.show(A), amount="1000"),
            Allocation(address=ADDRESSES.show_base58(B), amount="0.5", coin=True),
            Allocation(address=ADDRESSES.show(C), amount="92233720368.54775807", asset="GOLD"),
        ),
        "assets": (AssetEntry(symbol="GOLD", issuer=ADDRESSES.show(A), mintable=False),),
        "markets": (
            MarketEntry(
                symbol="GOLD/COIN",
                tick="0.01",
                lot="0.0001",
                reference_price="450",
                fee_account=ADDRESSES.show(B),
                min_notional="1",
                maker_fee_ppm=100,
                taker_fee_ppm=250,
            ),
        ),
    }
    return Genesis(**{**fields, **changes})


def sample_commitment(**changes: Any) -> Commitment:
    fields: dict[str, Any] = {
        "height": 300,
        "time_ms": TIME_MS + 5,
        "epoch": 0,
        "view": 310,
        "proposer": C,
        "parent_root": sha256(b"chaind sample root"),
        "validators_hash": sample_genesis().validators_hash,
        "last_certificate": (309, sha256(b"chaind sample parent")),
        "snapshot": None,
        "evidence": (),
    }
    return Commitment(**{**fields, **changes})


def sample_block(**changes: Any) -> Block:
    """Height 300 with every sample transaction; `changes` replaces commitment fields."""
    commitment = sample_commitment(**changes)
    return Block.assemble(
        parent=sha256(b"chaind sample parent"),
        time=TIME_MS // 1000,
        bits=BFT_BITS,
        coinbase=encode_coinbase(commitment.height),
        commitment=commitment,
        transactions=tuple(sample_transactions().values()),
    )


def sample_evidence() -> tuple[Vote, Vote]:
    """Voter 2 votes first for two blocks of one view."""
    first, second = sha256(b"chaind fork 1"), sha256(b"chaind fork 2")
    return sample_vote(VoteKind.FIRST, first, 2), sample_vote(VoteKind.FIRST, second, 2)
