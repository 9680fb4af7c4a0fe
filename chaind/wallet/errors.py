"""What can go wrong between a client and its nodes, and what nodes say made fit for a terminal.

Imports nothing heavy: commands that only ask a node use it too.
"""

from chaind.primitives.errors import Conflict, LocalFault, NotReady, RuleBroken, Unknown

NO_HTTP = "what answers there is no HTTP API. Is it a P2P port?"
SHOWN_CHARS_MAX = 600  # of what a node says: an error of ours is a sentence or two


class NodeSilent(LocalFault):
    """No usable answer from a node's API."""

    code = "node-silent"
    text = "{url} gives no answer: {reason}"
    advice = "Is the node running there? `chaind run` and `chaind devnet` say where they listen."
    exit_code = 69  # EX_UNAVAILABLE


class NodesBusy(NotReady):
    """All nodes that were asked answer, and none takes the request now."""

    code = "nodes-busy"
    text = "{url} cannot answer now: {detail}{hint}"
    advice = "Nothing was refused for good: try again later, a payment with the same key."


class Refused(RuleBroken):
    """A node's problem document (RFC 9457). `problem` is its code, `facts` the values in it."""

    code = "refused"
    text = "{url} refuses: {detail}{hint}"
    advice = "`chaind status` shows whether that node keeps up with the others."

    @property
    def problem(self) -> str:
        """The stable code of what was broken, as the node names it."""
        return str(self.values["problem"])

    @property
    def status(self) -> object:
        """The HTTP status."""
        return self.values["status"]


class NotThere(Unknown):
    """The node knows nothing of what was asked for (404)."""

    code = "not-there"
    text = "{url} knows nothing of it: {detail}{hint}"
    advice = "Compare what was asked for, or ask another node."


class KeySpent(Conflict):
    """The idempotency key belongs to another payment."""

    code = "key-spent"
    text = "key {key!r} of this account paid for something else: transaction {txid}"
    advice = "Use a new key for a new payment; leave --key out to have one drawn."


class PaymentEnded(RuleBroken):
    """A submitted payment can never apply any more."""

    code = "payment-ended"
    text = "payment {txid} did not happen: {reason}"
    advice = "Nothing was paid. Ask again with the same key, which is still free."


class NotFinalYet(LocalFault):
    """Accepted or perhaps accepted, and not final while the client waited."""

    code = "not-final-yet"
    text = "payment {txid} with key {key!r} was not final after {bound_s:.0f} s: {why}"
    advice = (
        "It is kept, or was never taken. Ask again with the same key: it will not be paid twice."
    )
    exit_code = 75  # EX_TEMPFAIL


def printable(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)


def shown(text: object) -> str:
    """What a stranger said, short and fit for a terminal."""
    return printable(str(text))[:SHOWN_CHARS_MAX]
