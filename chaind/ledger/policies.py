"""What one satisfaction of a policy demands: signatures, preimages, time and age.

The satisfaction names its way through the policy (`branches`), so evaluation is one walk, total
and bounded, and what is not on the way cannot be carried along. Signatures and preimages are
checked without state; time and age are handed to the caller as the latest that the way demands.
"""

from functools import lru_cache

import msgspec

from chaind.ledger.errors import WitnessInvalid
from chaind.primitives.address import key_address, policy_address
from chaind.primitives.errors import Malformed
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, is_low_s
from chaind.primitives.policy import (
    ENCODED_BYTES_MAX,
    After,
    And,
    Multi,
    Older,
    Or,
    Pk,
    Policy,
    Sha256,
    Thresh,
    check_policy,
    policy_decoder,
)
from chaind.primitives.transaction import KeyWitness, PolicyWitness, Witness

PREIMAGE_BYTES = 32  # fixed, so that a swap's other chain cannot be given one it refuses
_ADDRESSES_MAX = 16_384  # 4 MiB: who pays once pays again, and RIPEMD-160 costs over 1 µs

_address_of_key = lru_cache(maxsize=_ADDRESSES_MAX)(key_address)


class Demand(msgspec.Struct, frozen=True, gc=False):
    """A witness, read: whose it is and what else must hold."""

    address: bytes
    signatures: tuple[tuple[bytes, bytes], ...]  # (public key, signature) still to verify
    after_ms: int  # chain time must have reached this
    older_blocks: int  # spent coins must be this old; 0 where accounts may be spent


def read_witness(index: int, witness: Witness) -> Demand:
    """The demand of a witness. Raises `WitnessInvalid` for anything unused, missing or unfit."""
    if isinstance(witness, KeyWitness):
        _check_signature(index, witness.signature)
        if len(witness.public_key) != PUBLIC_KEY_BYTES:
            raise WitnessInvalid(index=index, reason="public key is not 33 bytes")
        pair = (witness.public_key, witness.signature)
        return Demand(_address_of_key(witness.public_key), (pair,), 0, 0)
    if len(witness.policy) > ENCODED_BYTES_MAX:
        raise WitnessInvalid(index=index, reason=f"policy exceeds {ENCODED_BYTES_MAX} bytes")
    try:
        policy = policy_decoder.decode(witness.policy)
        check_policy(policy)
    except Malformed as error:
        raise WitnessInvalid(index=index, reason=str(error)) from None
    walk = _Walk(index, witness)
    walk.take(policy)
    walk.check_used_up()
    address = policy_address(witness.policy)
    return Demand(address, tuple(walk.checks), walk.after_ms, walk.older_blocks)


def _check_signature(index: int, signature: bytes) -> None:
    if len(signature) != SIGNATURE_BYTES:
        raise WitnessInvalid(index=index, reason="signature is not 64 bytes")
    if not is_low_s(signature):
        raise WitnessInvalid(index=index, reason="signature has a high S (BIP-62)")


class _Walk:
    """Depth-first walk that takes branches, signatures and preimages in order."""

    def __init__(self, index: int, witness: PolicyWitness) -> None:
        self.index = index
        self.branches = list(reversed(witness.branches))
        self.signatures = list(reversed(witness.signatures))
        self.preimages = list(reversed(witness.preimages))
        self.key_number = 0
        self.checks: list[tuple[bytes, bytes]] = []
        self.after_ms = 0
        self.older_blocks = 0

    def refuse(self, reason: str) -> WitnessInvalid:
        return WitnessInvalid(index=self.index, reason=reason)

    def check_used_up(self) -> None:
        if self.branches or self.signatures or self.preimages:
            raise self.refuse("carries branches, signatures or preimages that are not used")

    def take(self, policy: Policy) -> None:
        match policy:
            case Pk(key):
                self._take_keys(1, (key,))
            case Multi(required, keys):
                self._take_keys(required, keys)
            case After(time_ms):
                self.after_ms = max(self.after_ms, time_ms)
            case Older(blocks):
                self.older_blocks = max(self.older_blocks, blocks)
            case Sha256(digest):
                preimage = self.preimages.pop() if self.preimages else b""
                if len(preimage) != PREIMAGE_BYTES or sha256(preimage) != digest:
                    raise self.refuse(f"no preimage of {digest.hex()}")
            case And(left, right):
                self.take(left)
                self.take(right)
            case Or(left, right):
                branch = self._branch()
                if branch not in (0, 1):
                    raise self.refuse(f"branch {branch} of an or")
                self._choose((left, right), 1 << branch)
            case Thresh(required, parts):
                mask = self._branch()
                if not 0 <= mask < 1 << len(parts) or mask.bit_count() != required:
                    raise self.refuse(f"mask {mask} does not choose {required} of {len(parts)}")
                self._choose(parts, mask)

    def _branch(self) -> int:
        if not self.branches:
            raise self.refuse("a branch is missing")
        return self.branches.pop()

    def _choose(self, parts: tuple[Policy, ...], mask: int) -> None:
        for number, part in enumerate(parts):
            if mask >> number & 1:
                self.take(part)
            else:
                self.key_number += count_keys(part)

    def _take_keys(self, required: int, keys: tuple[bytes, ...]) -> None:
        """The next `required` signatures, by ascending key number, all among these keys."""
        first, last = self.key_number, -1
        for _ in range(required):
            if not self.signatures:
                raise self.refuse("a signature is missing")
            number, signature = self.signatures.pop()
            if not first <= number < first + len(keys) or number <= last:
                raise self.refuse(f"signature of key {number} is out of place")
            _check_signature(self.index, signature)
            self.checks.append((keys[number - first], signature))
            last = number
        self.key_number += len(keys)


def count_keys(policy: Policy) -> int:
    """Keys in a policy, as they are numbered depth first."""
    match policy:
        case Pk():
            return 1
        case Multi(_, keys):
            return len(keys)
        case And(left, right) | Or(left, right):
            return count_keys(left) + count_keys(right)
        case Thresh(_, parts):
            return sum(count_keys(part) for part in parts)
        case _:
            return 0
