"""Types of what stands on the command line, whose refusals a person understands."""

import math
import re
from collections.abc import Sequence
from typing import Any

import click

from chaind.wallet.urls import UrlInvalid, node_url


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


class NodeUrl(click.ParamType):  # type: ignore[type-arg]
    """Where the API of a node is: http://HOST:PORT, without a slash at its end.

    Its base class is generic in the newest releases of click alone.
    """

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See `click.ParamType`."""
        try:
            return node_url(str(value))
        except UrlInvalid as error:
            self.fail(f"{error}. {error.advice}", param, ctx)

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Several in one variable stand apart by blanks or commas."""
        return [part for part in re.split(r"[\s,]+", rv) if part]
