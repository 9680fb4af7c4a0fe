"""Fields that forms are made of, and how they are read."""

from typing import Annotated, Any

import msgspec

from chaind.api.bodies import hex_bytes
from chaind.primitives.amounts import AMOUNT_MAX, UNIT, format_amount
from chaind.primitives.errors import Malformed

# Strings or numbers in; out always a string.
Amount = Annotated[
    Any,
    msgspec.Meta(
        extra_json_schema={
            "type": ["string", "number"],
            "pattern": r"^[0-9]{1,40}(\.[0-9]{1,40})?$",
            "minimum": float(format_amount(1)),
            "maximum": AMOUNT_MAX // UNIT,
            "examples": ["12.5"],
        }
    ),
]
Count = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 0, "maximum": 2**63 - 1})]
Hex = Annotated[str, msgspec.Meta(pattern="^([0-9a-fA-F]{2})*$")]


class FieldInvalid(Malformed):
    code = "field-invalid"
    text = "{field} is refused: {reason}"
    advice = "Correct that field and send the request again; /openapi.json describes all of them."


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An outward form."""


def bytes_of(field: str, text: str) -> bytes:
    """Bytes that a field has in hex. Raises `FieldInvalid`."""
    return hex_bytes(text, None, lambda: FieldInvalid(field=field, reason="not hexadecimal"))


def integer_of(field: str, value: int) -> int:
    """A count: MessagePack holds 64 bits, JSON has no such bound. Raises `FieldInvalid`."""
    if not 0 <= value < 1 << 63:
        raise FieldInvalid(field=field, reason="out of range")
    return value
