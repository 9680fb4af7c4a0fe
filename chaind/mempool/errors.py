"""Why a transaction does not enter the pool. All may change with time: nothing here is for ever."""

from chaind.primitives.errors import Conflict, RuleBroken, Temporary, TooMany


class Overcommitted(RuleBroken, Temporary):
    code = "overcommitted"
    text = (
        "{address} has {available} of {asset}, {pending} are pending already, "
        "{needed} more are needed"
    )
    advice = "Wait until pending payments are final, or send less."


class ConflictsWithPending(Conflict, Temporary):
    code = "conflicts-with-pending"
    text = "{what} is used by pending transaction {txid}"
    advice = "Pay a strictly higher fee and fee rate to replace it, or wait for it to become final."


class PoolFull(TooMany):
    code = "pool-full"
    text = "the mempool holds {count} transactions of {bytes} bytes, its limit"
    advice = "Retry later, or pay a higher fee rate."


class OwnerQuotaExceeded(TooMany):
    code = "owner-quota-exceeded"
    text = "{address} has {count} pending transactions of {bytes} bytes, its limit"
    advice = "Wait until some of them are final."


class WaitingOrdersExceeded(TooMany):
    code = "waiting-orders-exceeded"
    text = "{address} has {count} orders waiting for a block, its limit"
    advice = "Wait until some of them are in a block; cancel open orders that are in the way."
