"""Spending policies: a small closed expression that says who may spend, and when.

    pk(KEY)  multi(m, KEY…)  after(TIME)  older(BLOCKS)  sha256(HASH)
    and(A, B)  or(A, B)  thresh(k, A…)

KEY is 66 hex digits of a compressed public key, HASH 64 hex digits, TIME chain time in
milliseconds, BLOCKS the age of the spent coin (coins only). The canonical encoding of the value
is hashed into a 32-byte address. Evaluation lives in `ledger.policies`.
"""

import re
from typing import Union

import msgspec

from chaind.primitives.codec import Decoder, encode
from chaind.primitives.errors import Malformed, PeerFault
from chaind.primitives.keys import BadPublicKey, check_public_key

DEPTH_MAX = 8  # what a person can still follow, and bounds recursion
KEYS_MAX = 16  # bounds the signatures that one input can cost
ENCODED_BYTES_MAX = 4096
CHAIN_TIME_MS_MAX = 2**53  # what JSON numbers carry exactly; the year 287396
AGE_BLOCKS_MAX = 2**32
NUMBER_DIGITS_MAX = 19  # of a text: whatever they are, 64 bits hold them, as encoding demands


class PolicyInvalid(Malformed, PeerFault):
    """Not a policy within the bounds of this module."""

    code = "policy-invalid"
    text = "policy is refused: {reason}"
    advice = "Write it as pk, multi, after, older, sha256, and, or, thresh within the bounds."


class _Node(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    pass


class Pk(_Node, frozen=True, tag=0):
    """One signature of `key`."""

    key: bytes


class Multi(_Node, frozen=True, tag=1):
    """Signatures of `required` of `keys`."""

    required: int
    keys: tuple[bytes, ...]


class After(_Node, frozen=True, tag=2):
    """Chain time has reached `time_ms`."""

    time_ms: int


class Older(_Node, frozen=True, tag=3):
    """The spent coin is at least `blocks` old."""

    blocks: int


class Sha256(_Node, frozen=True, tag=4):
    """A 32-byte preimage of `digest`."""

    digest: bytes


class And(_Node, frozen=True, tag=5):
    """Both."""

    left: "Policy"
    right: "Policy"


class Or(_Node, frozen=True, tag=6):
    """Either; the satisfaction says which."""

    left: "Policy"
    right: "Policy"


class Thresh(_Node, frozen=True, tag=7):
    """`required` of `parts`; the satisfaction says which."""

    required: int
    parts: tuple["Policy", ...]


Policy = Union[Pk, Multi, After, Older, Sha256, And, Or, Thresh]  # noqa: UP007 — recursive alias
policy_decoder: Decoder[Policy] = Decoder("policy", Policy)


def check_policy(policy: Policy) -> None:
    """Raise `PolicyInvalid` unless depth, keys, thresholds and lengths are within bounds."""
    if len(encode(policy)) > ENCODED_BYTES_MAX:
        raise PolicyInvalid(reason=f"longer than {ENCODED_BYTES_MAX} bytes")
    if (keys := _check_node(policy, 1)) > KEYS_MAX:
        raise PolicyInvalid(reason=f"{keys} keys, at most {KEYS_MAX} are allowed")


def _check_node(policy: Policy, depth: int) -> int:
    """Checks one node and those below it; the number of keys found."""
    if depth > DEPTH_MAX:
        raise PolicyInvalid(reason=f"nested deeper than {DEPTH_MAX}")
    match policy:
        case Pk(key):
            _check_key(key)
            return 1
        case Multi(required, keys):
            if not 1 <= required <= len(keys) <= KEYS_MAX or len(set(keys)) != len(keys):
                raise PolicyInvalid(reason=f"multi needs 1 ≤ m ≤ {KEYS_MAX} distinct keys")
            for key in keys:
                _check_key(key)
            return len(keys)
        case After(time_ms):
            if not 0 < time_ms <= CHAIN_TIME_MS_MAX:
                raise PolicyInvalid(reason=f"after({time_ms}) is out of range")
            return 0
        case Older(blocks):
            if not 0 < blocks <= AGE_BLOCKS_MAX:
                raise PolicyInvalid(reason=f"older({blocks}) is out of range")
            return 0
        case Sha256(digest):
            if len(digest) != 32:
                raise PolicyInvalid(reason="sha256 needs 32 bytes")
            return 0
        case And(left, right) | Or(left, right):
            return _check_node(left, depth + 1) + _check_node(right, depth + 1)
        case Thresh(required, parts):
            if not 1 <= required <= len(parts) <= KEYS_MAX:
                raise PolicyInvalid(reason=f"thresh needs 1 ≤ k ≤ {KEYS_MAX} parts")
            return sum(_check_node(part, depth + 1) for part in parts)


def _check_key(key: bytes) -> None:
    try:
        check_public_key(key)
    except BadPublicKey as error:
        raise PolicyInvalid(reason=str(error)) from None


def format_policy(policy: Policy) -> str:
    """The text form; `parse_policy` is its inverse."""
    match policy:
        case Pk(key):
            return f"pk({key.hex()})"
        case Multi(required, keys):
            return f"multi({required},{','.join(key.hex() for key in keys)})"
        case After(time_ms):
            return f"after({time_ms})"
        case Older(blocks):
            return f"older({blocks})"
        case Sha256(digest):
            return f"sha256({digest.hex()})"
        case And(left, right):
            return f"and({format_policy(left)},{format_policy(right)})"
        case Or(left, right):
            return f"or({format_policy(left)},{format_policy(right)})"
        case Thresh(required, parts):
            return f"thresh({required},{','.join(map(format_policy, parts))})"


_TOKEN = re.compile(r"\s*([a-z]+[0-9]*(?=\s*\()|[0-9a-fA-F]+|[(),])", re.ASCII)
_TEXT_MAX = 16_384  # four times the encoded bound: hex doubles, names and commas add


class _Parser:
    """Recursive descent over the text form; depth is bounded while descending."""

    def __init__(self, text: str) -> None:
        if len(text) > _TEXT_MAX:
            raise PolicyInvalid(reason=f"text longer than {_TEXT_MAX} characters")
        self._text = text
        self._at = 0

    def take(self, wanted: str | None = None) -> str:
        found = _TOKEN.match(self._text, self._at)
        token = found.group(1) if found else ""
        if not found or (wanted is not None and token != wanted):
            near = self._text[self._at : self._at + 20]
            raise PolicyInvalid(reason=f"{wanted or 'a term'} expected at {near!r}")
        self._at = found.end()
        return token

    def peek(self) -> str:
        found = _TOKEN.match(self._text, self._at)
        return found.group(1) if found else ""

    def number(self) -> int:
        token = self.take()
        if not token.isdecimal() or len(token) > NUMBER_DIGITS_MAX:
            raise PolicyInvalid(reason=f"{token[:40]!r} is not a number")
        return int(token)

    def data(self) -> bytes:
        token = self.take()
        try:
            return bytes.fromhex(token)
        except ValueError:
            raise PolicyInvalid(reason=f"{token[:40]!r} is not hexadecimal") from None

    def policy(self, depth: int) -> Policy:
        if depth > DEPTH_MAX:
            raise PolicyInvalid(reason=f"nested deeper than {DEPTH_MAX}")
        name = self.take()
        self.take("(")
        value = self._arguments(name, depth)
        self.take(")")
        return value

    def _arguments(self, name: str, depth: int) -> Policy:
        match name:
            case "pk":
                return Pk(self.data())
            case "sha256":
                return Sha256(self.data())
            case "after":
                return After(self.number())
            case "older":
                return Older(self.number())
            case "and" | "or":
                left = self.policy(depth + 1)
                self.take(",")
                right = self.policy(depth + 1)
                return And(left, right) if name == "and" else Or(left, right)
            case "multi":
                required, keys = self.number(), []
                while self.peek() == ",":
                    self.take(",")
                    keys.append(self.data())
                return Multi(required, tuple(keys))
            case "thresh":
                required, parts = self.number(), []
                while self.peek() == ",":
                    self.take(",")
                    parts.append(self.policy(depth + 1))
                return Thresh(required, tuple(parts))
        raise PolicyInvalid(reason=f"{name[:40]!r} is not a policy")

    def end(self) -> None:
        if self._text[self._at :].strip():
            raise PolicyInvalid(reason=f"{self._text[self._at :][:20]!r} follows the policy")


def parse_policy(text: str) -> Policy:
    """The checked policy that `text` writes. Raises `PolicyInvalid`."""
    parser = _Parser(text)
    policy = parser.policy(1)
    parser.end()
    check_policy(policy)
    return policy
