"""Why a header finds no place in the tree. Hashes are in display order."""

from chaind.primitives.errors import Conflict, PeerFault, RuleBroken


class ParentInvalid(RuleBroken, PeerFault):
    """It stands on a block that breaks a rule, or is that block. Bitcoin's bad-prevblk."""

    code = "bad-prevblk"
    text = "header {hash} is, or stands on, a block that was found invalid"


class ReorgTooDeep(Conflict):
    """It leaves the chain below its last final block. Nobody's fault: the network was split."""

    code = "reorg-too-deep"
    text = (
        "header {hash} leaves this node's chain at height {fork_height}, "
        "below its final block {final_height}"
    )
    advice = (
        "This node and the sender follow chains that parted before blocks became final. Compare "
        "both with nodes that you trust. If this node is on the wrong one: stop it, run `chaind "
        "rollback --to` with the height at which they parted, and start it again."
    )
