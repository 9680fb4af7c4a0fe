"""Damaged bytes into every decoder: refused in its own words, or read as the one thing they say.

A few thousand for each on every run, the same ones each time; `atheris_decoders.py` looks for more
where the coverage leads. `tests/primitives/test_garbage.py` draws values of the ledger's own forms.
"""

import zlib
from random import Random

import pytest
from fuzz_decoders import DECODERS, try_one
from fuzz_mutators import SHAPES, damaged
from hypothesis import given, settings
from hypothesis import strategies as st

EXECUTIONS = 3_000
each_decoder = pytest.mark.parametrize("name", DECODERS)


@each_decoder
def test_samples_are_good(name: str) -> None:
    assert any(try_one(name, sample) for sample in DECODERS[name].samples)


@each_decoder
def test_damaged_samples(name: str) -> None:
    dice, decoder = Random(zlib.crc32(name.encode())), DECODERS[name]
    change = SHAPES.get(decoder.shape)
    accepted = 0
    for number in range(EXECUTIONS):
        if change is not None and number % 2:
            data = change(dice.choice(decoder.samples), dice)
        else:
            data = damaged(dice, decoder.samples)
        try:
            accepted += try_one(name, data)
        except Exception as error:
            raise AssertionError(f"execution {number}: {data.hex()}") from error
    assert accepted < EXECUTIONS or not decoder.refusals, "nothing was refused"


@each_decoder
@settings(max_examples=30)
@given(data=st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_anything(name: str, data: bytes) -> None:
    try_one(name, data)
