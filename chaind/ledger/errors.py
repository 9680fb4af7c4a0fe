"""Broken rules of the ledger, one class each.

`PeerFault` marks what no correct node relays: form and signatures, which need no state. What
depends on state is nobody's fault: two honest nodes may differ by a block.
"""

from chaind.primitives.errors import Conflict, Malformed, PeerFault, RuleBroken, Temporary


class TransactionMalformed(Malformed, PeerFault):
    code = "transaction-malformed"
    text = "transaction is malformed: {reason}"


class WrongChain(RuleBroken, PeerFault):
    code = "wrong-chain"
    text = "transaction is for chain {given}, this is {ours}"
    advice = "Build it with the chain prefix that GET /status shows."


class TransactionTooLarge(RuleBroken, PeerFault):
    code = "transaction-too-large"
    text = "transaction has {what} {given}, at most {limit} are allowed"


class Unbalanced(RuleBroken, PeerFault):
    code = "unbalanced"
    text = "inputs of {asset} are {inputs} base units, outputs {outputs}"
    advice = "Native inputs cover outputs and fee; other assets balance exactly."


class FeeTooLow(RuleBroken):
    code = "fee-too-low"
    text = "fee is {paid} base units, {needed} are needed"


class BadSignature(RuleBroken, PeerFault):
    code = "bad-signature"
    text = "signature of key {key} does not verify"
    advice = "Sign the tagged hash of the Body with RFC 6979 and low-S."


class WitnessInvalid(RuleBroken, PeerFault):
    code = "witness-invalid"
    text = "witness {index} is refused: {reason}"


class WitnessMismatch(RuleBroken):
    """For coins only the state knows the owner, so this is not always the sender's fault."""

    code = "witness-mismatch"
    text = "witnesses are for {given}, the owners in order of first appearance are {needed}"


class Expired(RuleBroken):
    code = "expired"
    text = "valid_until {valid_until} is not after chain time {chain_time_ms}"
    advice = "Build a new transaction with a later valid_until."


class ValidTooLong(RuleBroken, Temporary):
    code = "valid-too-long"
    text = "valid_until {valid_until} is beyond chain time {chain_time_ms} + {window_ms} ms"


class AlreadyApplied(Conflict):
    code = "already-applied"
    text = "transaction {txid} is in the chain already"


class LeaseTaken(Conflict):
    code = "lease-taken"
    text = "lease {id} of its owner is held by transaction {txid} with intent {intent}"
    advice = "The payment was made: look that transaction up, or use a new key for a new payment."


class LeasesExhausted(RuleBroken, Temporary):
    code = "leases-exhausted"
    text = "owner has taken {count} leases in this period, at most {limit} are allowed"


class InsufficientFunds(RuleBroken, Temporary):
    code = "insufficient-funds"
    text = "{address} has {available} of {asset}, {needed} are needed"
    advice = "Fund the account or send less."


class CoinMissing(RuleBroken, Temporary):
    code = "coin-missing"
    text = "coin {outpoint} does not exist or is spent"


class CoinImmature(RuleBroken, Temporary):
    code = "coin-immature"
    text = "coinbase coin of height {height} matures at height {matures}"


class TooEarly(RuleBroken, Temporary):
    code = "too-early"
    text = "policy needs {needed}, now it is {now}"


class AssetUnknown(RuleBroken, Temporary):
    code = "asset-unknown"
    text = "there is no asset {asset}"


class AssetExists(RuleBroken):
    code = "asset-exists"
    text = "asset {asset} exists already"


class AssetNotMintable(RuleBroken):
    code = "asset-not-mintable"
    text = "the supply of {asset} is fixed"


class SupplyExceeded(RuleBroken):
    code = "supply-exceeded"
    text = "supply of {asset} would become {supply}, at most {limit} base units are allowed"


class BlockInvalid(RuleBroken, PeerFault):
    code = "block-invalid"
    text = "block {height} is invalid: {reason}"


class BlockTransactionInvalid(BlockInvalid):
    """`cause` is the rule that the transaction broke."""

    code = "block-transaction-invalid"
    text = "block {height} is invalid: transaction {index}, {txid}: {cause}"


class BlockUntimely(RuleBroken, Temporary):
    """Valid by itself, but its time is too far from this node's clock."""

    code = "block-untimely"
    text = "block {height} says {time_ms}, this clock {now_ms}, more than {max_drift_ms} ms apart"


class RootMismatch(BlockInvalid):
    code = "root-mismatch"
    text = "block {height} builds on state root {given}, ours is {ours}"


# What a transaction can be refused with; anything else that is raised is this machine's fault.
REFUSALS = (RuleBroken, Conflict, Malformed)
