"""Header and block: Bitcoin's bytes and hashes, and a Merkle root that binds every part."""

from collections.abc import Callable

import msgpack
import pytest
from primitive_samples import (
    ALICE,
    TIME_MS,
    A,
    sample_block,
    sample_body,
    sample_commitment,
    sample_evidence,
    sample_transactions,
    signed,
)
from test_coinbases import GOLDEN

from chaind.primitives.block import (
    BFT_BITS,
    BLOCK_VERSION,
    Block,
    Header,
    HeaderMalformed,
    MerkleMismatch,
    block_leaves,
    commitment_decoder,
)
from chaind.primitives.codec import NonCanonical, Undecodable, encode
from chaind.primitives.coinbase import CoinbaseInvalid, encode_coinbase
from chaind.primitives.errors import ChaindError
from chaind.primitives.hashes import display_hash, merkle_root, sha256, sha256d

GENESIS_ROOT = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
# Bitcoin main net, as block explorers show them: hashes reversed.
BITCOIN_HEADERS = {
    "block 0": (
        (1, "00" * 32, GENESIS_ROOT, 1231006505, 0x1D00FFFF, 2083236893),
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    ),
    "block 1": (
        (
            1,
            "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
            "0e3e2357e806b6cdb1f70b54c3a3a17b6714ee1f0e68bebb44a74b1efd512098",
            1231469665,
            0x1D00FFFF,
            2573394689,
        ),
        "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048",
    ),
    "block 100000": (
        (
            1,
            "000000000002d01c1fccc21636b607dfd930d31d01c3a62104612a1719011250",
            "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766",
            1293623863,
            0x1B04864C,
            274148111,
        ),
        "000000000003ba27aa200b1cecaad478d2b00432346c3f1f3986da1afd33e506",
    ),
}
# The published Stratum example; its hash is given as mining software shows it.
GOLDEN_HEADER = bytes.fromhex(
    "0000002032a72a8043f4ce5c962994ae137d350a0bff3032e9719e2923638cbc6abfcc9f"
    "7966320f123155d5fc4fc4cbbe864e4c933939c1f251f52f64b2bb6d872f3520"
    "0025006bffff001f000027e2"
)
GOLDEN_HASH = "0000f4f52bd4a04eccae62611aef98e122e7058208e2c15c7386d45d38643d5a"


@pytest.mark.parametrize("block", BITCOIN_HEADERS)
def test_bitcoin_headers_hash_as_published(block: str) -> None:
    (version, parent, root, time, bits, nonce), shown = BITCOIN_HEADERS[block]
    hashes = (bytes.fromhex(parent)[::-1], bytes.fromhex(root)[::-1])
    header = Header(version, *hashes, time, bits, nonce)
    assert display_hash(sha256d(header.encode())) == shown
    assert Header.decode(header.encode()) == header


def test_the_published_stratum_header() -> None:
    header = Header.decode(GOLDEN_HEADER)
    assert header.encode() == GOLDEN_HEADER
    assert (header.version, header.bits) == (0x20000000, 0x1F00FFFF)
    assert (header.time, header.nonce) == (0x6B002500, 0xE2270000)
    assert display_hash(sha256d(GOLDEN_HEADER)) == GOLDEN_HASH
    branch = bytes.fromhex("71aa817e52cee92baa8dd19d7ea3bc83817d0d879a709cfc2a85de9e79200eb1")
    assert header.merkle_root == merkle_root([sha256d(GOLDEN), branch])


@pytest.mark.parametrize("length", [0, 79, 81, 160])
def test_a_header_has_80_bytes(length: int) -> None:
    with pytest.raises(HeaderMalformed, match=f"{length} given"):
        Header.decode(bytes(length))


def test_a_block_is_written_as_the_format_page_says() -> None:
    """[header, coinbase, commitment, [raw…]]."""
    block = sample_block()
    raws = [transaction.raw for transaction in sample_transactions().values()]
    commitment = [
        300,
        TIME_MS + 5,
        0,
        310,
        sample_commitment().proposer,
        sha256(b"chaind sample root"),
        sample_commitment().validators_hash,
        [309, sha256(b"chaind sample parent")],
        None,
        [],
    ]
    parts = [block.header.encode(), encode_coinbase(300), msgpack.packb(commitment), raws]
    assert block.encode() == msgpack.packb(parts)
    leaves = [*map(sha256d, [*parts[1:3], *raws])]
    assert block.header.merkle_root == merkle_root(leaves)
    assert block.leaves() == leaves
    assert block.header == Header(
        BLOCK_VERSION,
        sha256(b"chaind sample parent"),
        merkle_root(leaves),
        TIME_MS // 1000,
        BFT_BITS,
        0,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"time_ms": None, "proposer": None, "last_certificate": None},
        {"snapshot": bytes(32), "evidence": (sample_evidence(), sample_evidence())},
        {"height": 0},
    ],
)
def test_a_block_comes_back(changes: dict[str, object]) -> None:
    block = sample_block(**changes)
    for again in (
        Block.decode(block.encode()),
        Block.rebuild(
            block.header_bytes, block.coinbase_bytes, block.commitment_bytes, block.transactions
        ),
    ):
        assert again.hash == block.hash == sha256d(block.header_bytes)
        assert again.header == block.header
        assert again.commitment == block.commitment
        assert again.coinbase == block.coinbase
        assert again.transactions == block.transactions
        assert again.encode() == block.encode()
    assert block.height == block.commitment.height == block.coinbase.height
    assert block.parent == block.header.parent


Part = dict[str, object]


def other_coinbase(parts: Part) -> Part:
    return {**parts, "coinbase": encode_coinbase(300, b"other")}


def other_commitment(parts: Part) -> Part:
    return {**parts, "commitment": encode(sample_commitment(view=311))}


def changed(change: Callable[[list[object]], list[object]]) -> Callable[[Part], Part]:
    def apply(parts: Part) -> Part:
        transactions = parts["transactions"]
        assert isinstance(transactions, tuple)
        return {**parts, "transactions": tuple(change(list(transactions)))}

    return apply


@pytest.mark.parametrize(
    "change",
    [
        other_coinbase,
        other_commitment,
        changed(lambda txs: txs[:-1]),
        changed(lambda txs: txs[1:]),
        changed(lambda txs: txs[::-1]),
        changed(lambda txs: [*txs, signed(sample_body(memo=b"more"), ALICE)]),
        changed(lambda txs: [signed(sample_body(), ALICE, ALICE), *txs[1:]]),  # the same txid
        changed(lambda txs: []),
    ],
)
def test_the_header_binds_every_part(change: Callable[[Part], Part]) -> None:
    block = sample_block()
    parts: Part = {
        "coinbase": block.coinbase_bytes,
        "commitment": block.commitment_bytes,
        "transactions": block.transactions,
    }
    Block.rebuild(block.header_bytes, **parts)  # type: ignore[arg-type]
    with pytest.raises(MerkleMismatch) as caught:
        Block.rebuild(block.header_bytes, **change(parts))  # type: ignore[arg-type]
    assert caught.value.values["expected"] == block.header.merkle_root.hex()


@pytest.mark.parametrize("count", [1, 3, 4, 5])
def test_repeated_leaves_are_refused_though_the_root_agrees(count: int) -> None:
    """CVE-2012-2459: the forged list has the honest header, and may not brand it as invalid."""
    transactions = [signed(sample_body(memo=bytes([number])), ALICE) for number in range(count)]
    block = Block.assemble(
        parent=bytes(32),
        time=0,
        bits=BFT_BITS,
        coinbase=encode_coinbase(300),
        commitment=sample_commitment(),
        transactions=transactions,
    )
    parts = (block.coinbase_bytes, block.commitment_bytes)
    longer = [transactions + transactions[-repeated:] for repeated in range(1, count + 1)]
    forged = [
        forgery
        for forgery in longer
        if merkle_root(block_leaves(*parts, forgery)) == block.header.merkle_root
    ]
    assert forged
    for forgery in forged:
        with pytest.raises(MerkleMismatch, match="a repeated leaf"):
            Block.rebuild(block.header_bytes, *parts, forgery)


def plain_block() -> list[object]:
    plain = msgpack.unpackb(sample_block().encode())
    assert isinstance(plain, list)
    return plain


@pytest.mark.parametrize(
    ("part", "value", "error"),
    [
        (0, bytes(79), HeaderMalformed),
        (1, bytes(100), CoinbaseInvalid),
        (2, b"\x90", Undecodable),
        (2, sample_block().commitment_bytes + b"\0", Undecodable),
        (2, b"\x9a\xcd\x00\x05" + sample_block().commitment_bytes[4:], NonCanonical),
        (3, [b""], Undecodable),
        (3, [b"\x92\xc0\x90"], Undecodable),
        (3, [sample_block().transactions[0].raw + b"\0"], Undecodable),
    ],
)
def test_each_part_is_refused_with_its_own_error(
    part: int, value: object, error: type[ChaindError]
) -> None:
    plain = plain_block()
    plain[part] = value
    with pytest.raises(error):
        Block.decode(msgpack.packb(plain))


def test_the_commitment_is_checked_by_type() -> None:
    commitment = sample_commitment(evidence=(sample_evidence(),))
    assert commitment_decoder.decode(encode(commitment)) == commitment
    plain = msgpack.unpackb(encode(commitment))
    for index, wrong in ((0, "300"), (1, 1.5), (4, A.hex()), (7, [309]), (9, [[1, 2]]), (9, None)):
        with pytest.raises(Undecodable):
            commitment_decoder.decode(msgpack.packb([*plain[:index], wrong, *plain[index + 1 :]]))
