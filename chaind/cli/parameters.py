"""Types of what stands on the command line, whose refusals a person understands."""

import math
import os
import re
from collections.abc import Sequence
from typing import Any

import click

from chaind.cli.variables import is_utf8
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


class FilePath(click.Path):
    """A path that every part of the program can use.

    An empty one would mean the current directory, and is mostly a variable of a script that was
    never set; LevelDB takes names in UTF-8 alone.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        _refuse_empty(value, param, ctx)
        if not is_utf8(str(value)):
            self.fail("it is not text in UTF-8.", param, ctx)
        # As settings do; no shell does it in --home=~/x.
        return super().convert(os.path.expanduser(value), param, ctx)


class Filled(click.types.StringParamType):
    """Text that is not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        _refuse_empty(value, param, ctx)
        return super().convert(value, param, ctx)


def _refuse_empty(value: object, param: click.Parameter | None, ctx: click.Context | None) -> None:
    """Raise where a value was given and is empty."""
    if not str(value):
        raise click.BadParameter("it is empty. Is a variable unset?", ctx=ctx, param=param)


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
        return [part for part in re.split(r"[\s,]+", rv) if part] or [rv]
