"""The error tree: one class per broken rule, carrying the values that broke it.

Two axes, both types, so that nobody ever parses a message:

* the *kind* decides what a caller is told: `Malformed`, `NotAllowed`, `Unknown`, `Conflict`,
  `TooLarge`, `RuleBroken`, `TooMany`, `NotReady`;
* the *fault* decides who is blamed: `PeerFault` (only a broken or hostile sender produces it),
  `Temporary` (may succeed later, unchanged), `LocalFault` (this machine: disk, configuration).

Rooms define their own leaves below these. `code` is stable and public; `text` is a template over
the keyword values; `advice` says what to do about it. No leaf is without any of the three.
"""

from typing import ClassVar, Self


class ChaindError(Exception):
    """Root of the tree. Raise leaves only: `raise FeeTooLow(paid=3, needed=176)`."""

    code: ClassVar[str] = "error"
    text: ClassVar[str] = "error"
    advice: ClassVar[str] = ""

    def __init__(self, **values: object) -> None:
        self.values = values
        super().__init__(self.text.format(**values))

    def worded(self, text: str, **values: object) -> Self:
        """The same error with more values, in other words: of a caller who knows it otherwise."""
        again = type(self)(**self.values, **values)
        again.args = (text.format(**again.values),)
        return again

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.values))


def _rebuild(cls: type[ChaindError], values: dict[str, object]) -> ChaindError:
    return cls(**values)


class PeerFault(ChaindError):
    """Correct software never sends this: the sender is penalised.

    The advice serves where there is no better one: nobody can mend what another program sends.
    """

    advice = "Update or replace the software that sent it: it breaks a rule of this network."


class Temporary(ChaindError):
    """The same request may succeed later without change."""


class LocalFault(ChaindError):
    """This machine or its configuration is at fault. `exit_code` ends the process."""

    exit_code: ClassVar[int] = 70  # EX_SOFTWARE of sysexits.h; leaves choose their own


class Malformed(ChaindError):
    """Not in the form that the format demands."""


class NotAllowed(ChaindError):
    """The caller lacks the right."""


class Unknown(ChaindError):
    """No such thing here."""


class Conflict(ChaindError):
    """Contradicts something that already stands."""


class TooLarge(ChaindError):
    """Exceeds a byte or count limit of a door."""


class RuleBroken(ChaindError):
    """Well formed, but against a rule of the ledger."""


class TooMany(Temporary):
    """A rate or a queue is full."""


class NotReady(Temporary):
    """The node cannot answer this yet."""
