"""Types of what stands on the command line, whose refusals a person understands."""

import math
from typing import Any

import click


class Whole(click.IntRange):
    """A whole number within bounds."""

    name = "whole number"


class Number(click.FloatRange):
    """A number within bounds. Python reads "nan" as one, which every comparison lets through."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """See `click.ParamType`."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


class Descriptor(Whole):
    """A file descriptor; no system has more of them."""

    def __init__(self) -> None:
        super().__init__(0, 1 << 20)
