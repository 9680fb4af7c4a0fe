"""Why a block that was mined here, or handed in, is not taken, beside the rules of its header."""

from chaind.ledger.errors import BlockInvalid
from chaind.primitives.errors import Unknown


class ParentUnknown(Unknown):
    """A block was handed in whose parent this node does not have."""

    code = "parent-unknown"
    text = "block {hash} stands on {parent}, which this node does not have"
    advice = "Get a new template: the one that was mined is not of this node's chain."


class TransactionsRefused(BlockInvalid):
    """No state makes it valid: a signature is wrong, or a form."""

    code = "transactions-refused"
    text = "block {height} is invalid: a transaction in it breaks a rule that needs no state"
    advice = "Take the transactions as the template gives them; the node's log names the rule."
