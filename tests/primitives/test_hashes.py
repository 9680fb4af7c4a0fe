"""Hashes and Merkle trees against FIPS, NIST, Bitcoin's published blocks and CVE-2012-2459."""

import hashlib

import pytest
from Crypto.Hash import RIPEMD160
from hypothesis import given
from hypothesis import strategies as st

from chaind.primitives.hashes import (
    display_hash,
    hash160,
    merkle_is_mutated,
    merkle_path,
    merkle_root,
    merkle_root_from_path,
    sha256,
    sha256d,
    tagged_hash,
)

# Bitcoin main net: transaction ids as shown (reversed) and the block's Merkle root.
BITCOIN_BLOCKS = {
    "block 170, even": (
        [
            "b1fea52486ce0c62bb442b530a3f0132b826c74e473d1f2c220bfa78111c5082",
            "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16",
        ],
        "7dac2c5666815c17a3b36427de37bb9d2e2c5ccec3f8633eb91a4205cb4c10ff",
    ),
    "block 100000, four": (
        [
            "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
            "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
            "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
            "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
        ],
        "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766",
    ),
    "block 100014, seven": (
        [
            "147caa76786596590baa4e98f5d9f48b86c7765e489f7a6ff3360fe5c674360b",
            "0bcb16af267dee77ed8761662d31ee9d9a1bf1e4d268a9e7127407ebb3f9acfd",
            "48738657818e2628f216375a9d48d681e2b1b1390be1b7a028c7b810eaa3928a",
            "02981fa052f0481dbc5868f4fc2166035a10f27a03cfd2de67326471df5bc041",
            "652b0aa4cf4f17bdb31f7a1d308331bba91f3b3cbf8f39c9cb5e19d4015b9f01",
            "68d0685759c3d4f3f90a4f0e48d1b77641f06bb1f0b83a8841e8d71d5570ed41",
            "0a2a92f0bda4727d0a13eaddf4dd9ac6b5c61a1429e6b2b818f19b15df0ac154",
        ],
        "8772d9d0fdf8c1303c7b1167e3c73b095fd970e33c799c6563d98b2e96c5167f",
    ),
}


def leaves(count: int) -> list[bytes]:
    return [sha256(b"leaf %d" % number) for number in range(count)]


def test_sha256_and_sha256d_of_published_messages() -> None:
    # FIPS 180-4 example, and the double hash of "hello" of Bitcoin's protocol page.
    assert sha256(b"abc").hex() == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert sha256d(b"hello").hex() == (
        "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50"
    )


def test_hash160_of_published_keys_and_by_a_second_implementation() -> None:
    # Bitcoin wiki, "Technical background of version 1 Bitcoin addresses".
    public = "0250863ad64a87ae8a2fe83c1af1a8403cb53f53e486d8511dad8a04887e5b2352"
    assert hash160(bytes.fromhex(public)).hex() == "f54a5851e9372b87810a8e60cdd2e7cfd80b6e31"
    for length in (0, 1, 33, 65, 1000):
        data = bytes(range(256)) * 4
        by_hand = RIPEMD160.new(hashlib.sha256(data[:length]).digest()).digest()
        assert hash160(data[:length]) == by_hand


def test_tags_separate_domains() -> None:
    assert tagged_hash("ab", b"c") == sha256d(b"\x02abc")
    assert tagged_hash("a", b"bc") != tagged_hash("ab", b"c")


def test_block_hashes_are_shown_reversed() -> None:
    assert display_hash(bytes(range(32))) == bytes(reversed(range(32))).hex()


@pytest.mark.parametrize("block", BITCOIN_BLOCKS)
def test_merkle_roots_of_bitcoin_blocks(block: str) -> None:
    shown, root = BITCOIN_BLOCKS[block]
    ids = [bytes.fromhex(txid)[::-1] for txid in shown]
    assert display_hash(merkle_root(ids)) == root
    assert not merkle_is_mutated(ids)


def test_a_single_leaf_is_its_own_root() -> None:
    assert merkle_root(leaves(1)) == leaves(1)[0]
    assert not merkle_is_mutated(leaves(1))


@pytest.mark.parametrize("count", [3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15])
def test_repeating_the_tail_keeps_the_root_and_is_seen(count: int) -> None:
    """CVE-2012-2459, at every row where the tree is odd."""
    honest = leaves(count)
    forgeries = 0
    for repeated in range(1, count + 1):
        forged = honest + honest[-repeated:]
        if merkle_root(forged) == merkle_root(honest):
            forgeries += 1
            assert merkle_is_mutated(forged)
    assert forgeries
    assert not merkle_is_mutated(honest)


def test_equal_leaves_that_are_no_siblings_are_no_mutation() -> None:
    one, two, three = leaves(3)
    assert not merkle_is_mutated([one, two, two, three])  # Core looks at pairs alone
    assert merkle_is_mutated([one, two, three, three])


@given(st.integers(1, 40), st.data())
def test_a_path_leads_to_the_root_from_its_leaf_alone(count: int, data: st.DataObject) -> None:
    row = leaves(count)
    index = data.draw(st.integers(0, count - 1))
    path = merkle_path(row, index)
    assert merkle_root_from_path(row[index], index, path) == merkle_root(row)
    assert merkle_root_from_path(sha256(b"other"), index, path) != merkle_root(row)
    if path:
        assert merkle_root_from_path(row[index], index, path[:-1]) != merkle_root(row)
