"""Broken rules of the ledger, one class each.

`PeerFault` marks what no correct node relays: form and signatures, which need no state. What
depends on state is nobody's fault: two honest nodes may differ by a block.
"""

from chaind.primitives.errors import Conflict, Malformed, PeerFault, RuleBroken, Temporary, Unknown


class TransactionMalformed(Malformed, PeerFault):
    code = "transaction-malformed"
    text = "transaction is malformed: {reason}"
    advice = (
        "Build the transaction again with a wallet of this version; /openapi.json describes its "
        "fields."
    )


class WrongChain(RuleBroken, PeerFault):
    code = "wrong-chain"
    text = "transaction is for chain {given}, this is {ours}"
    advice = "Build it with the chain prefix that GET /status shows."


class TransactionTooLarge(RuleBroken, PeerFault):
    code = "transaction-too-large"
    text = "transaction has {what} {given}, at most {limit} are allowed"
    advice = "Split it into several transactions, each within the limit."


class Unbalanced(RuleBroken, PeerFault):
    code = "unbalanced"
    text = "inputs of {asset} are {inputs} base units, outputs {outputs}"
    advice = "Native inputs cover outputs and fee; other assets balance exactly."


class FeeTooLow(RuleBroken):
    code = "fee-too-low"
    text = "fee is {paid} base units, {needed} are needed"
    advice = (
        "Leave the difference between native inputs and outputs as the fee, at least what is "
        "needed."
    )


class BadSignature(RuleBroken, PeerFault):
    code = "bad-signature"
    text = "signature of key {key} does not verify"
    advice = "Sign the tagged hash of the Body with RFC 6979 and low-S."


class WitnessInvalid(RuleBroken, PeerFault):
    code = "witness-invalid"
    text = "witness {index} is refused: {reason}"
    advice = (
        "Make the witness again for the owner at that place: its keys, or its policy and branches."
    )


class WitnessMismatch(RuleBroken):
    """For coins only the state knows the owner, so this is not always the sender's fault."""

    code = "witness-mismatch"
    text = "witnesses are for {given}, the owners in order of first appearance are {needed}"
    advice = "Give one witness for each owner of an input, in that order, and no others."


class Expired(RuleBroken):
    code = "expired"
    text = "valid_until {valid_until} is not after chain time {chain_time_ms}"
    advice = "Build a new transaction with a later valid_until."


class ValidTooLong(RuleBroken, Temporary):
    code = "valid-too-long"
    text = "valid_until {valid_until} is beyond chain time {chain_time_ms} + {window_ms} ms"
    advice = "Choose an earlier valid_until, or send it again once the chain's time is closer."


class AlreadyApplied(Conflict):
    code = "already-applied"
    text = "transaction {txid} is in the chain already"
    advice = "Nothing is to be paid again: GET /transaction/ID shows where it stands."


class LeaseTaken(Conflict):
    code = "lease-taken"
    text = "lease {id} of its owner is held by transaction {txid} with intent {intent}"
    advice = "The payment was made: look that transaction up, or use a new key for a new payment."


class LeasesExhausted(RuleBroken, Temporary):
    code = "leases-exhausted"
    text = "owner has taken {count} leases in this period, at most {limit} are allowed"
    advice = "Wait for the next period, or pay from another account."


class InsufficientFunds(RuleBroken, Temporary):
    code = "insufficient-funds"
    text = "{address} has {available} of {asset}, {needed} are needed"
    advice = "Fund the account or send less."


class CoinMissing(RuleBroken, Temporary):
    code = "coin-missing"
    text = "coin {outpoint} does not exist or is spent"
    advice = "Ask for the owner's coins (GET /utxos/ADDRESS) and spend one of those."


class CoinImmature(RuleBroken, Temporary):
    code = "coin-immature"
    text = "coinbase coin of height {height} matures at height {matures}"
    advice = "Spend it once the chain has reached that height."


class TooEarly(RuleBroken, Temporary):
    code = "too-early"
    text = "policy needs {needed}, now it is {now}"
    advice = "Send it again once the chain has got there."


class AssetUnknown(RuleBroken, Temporary):
    code = "asset-unknown"
    text = "there is no asset {asset}"
    advice = "GET /api/v1/assets lists the assets of this chain."


class AssetExists(RuleBroken):
    code = "asset-exists"
    text = "asset {asset} exists already"
    advice = "Choose another symbol; GET /api/v1/assets lists those that are taken."


class AssetNotMintable(RuleBroken):
    code = "asset-not-mintable"
    text = "the supply of {asset} is fixed"
    advice = "Issue another asset; this one was made so that nobody can make more of it."


class SupplyExceeded(RuleBroken):
    code = "supply-exceeded"
    text = "supply of {asset} would become {supply}, at most {limit} base units are allowed"
    advice = "Make less of it."


class NotIssuer(RuleBroken):
    code = "not-issuer"
    text = "market {symbol} is for the issuer of {base} or of {quote} to open"
    advice = "Have the issuer of one of its assets sign, or issue an asset of your own."


class BlockInvalid(RuleBroken, PeerFault):
    code = "block-invalid"
    text = "block {height} is invalid: {reason}"
    advice = (
        "Update whichever node made it; if others take it, compare this node's version with theirs."
    )


class BlockTransactionInvalid(BlockInvalid):
    """`cause` is the rule that the transaction broke."""

    code = "block-transaction-invalid"
    text = "block {height} is invalid: transaction {index}, {txid}: {cause}"


class BlockOutOfTurn(BlockInvalid):
    """`given` stands where `due` has its turn."""

    code = "block-out-of-turn"
    text = "block {height} is invalid: order {given} stands at {index}, it is the turn of {due}"


class BlockUntimely(RuleBroken, Temporary):
    """Valid by itself, but its time is too far from this node's clock."""

    code = "block-untimely"
    text = "block {height} says {time_ms}, this clock {now_ms}, more than {max_drift_ms} ms apart"
    advice = (
        "Set the clocks of this machine and of the validators by NTP; the block is tried again."
    )


class RootMismatch(BlockInvalid):
    code = "root-mismatch"
    text = "block {height} builds on state root {given}, ours is {ours}"


# What a transaction can be refused with; anything else that is raised is this machine's fault.
REFUSALS = (RuleBroken, Conflict, Unknown, Malformed)
