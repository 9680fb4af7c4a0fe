"""What peers do wrong while headers are fetched from them. Hashes are in display order."""

from chaind.primitives.errors import Conflict, Malformed, PeerFault, RuleBroken, TooLarge


class HeadersTooMany(TooLarge, PeerFault):
    """More headers than one answer may have."""

    code = "headers-too-many"
    text = "{count} headers in one answer, at most {limit} are allowed"


class HeadersScattered(Malformed, PeerFault):
    """Headers of one answer do not stand on each other."""

    code = "headers-scattered"
    text = "header {place} of an answer does not stand on the one before it"


class ChainTooLight(RuleBroken, PeerFault):
    """A whole chain that weighs less than what the network is known to have done."""

    code = "chain-too-light"
    text = "the peer's chain ends at height {height} with work {work:#x}, the least is {minimum:#x}"


class HeadersChanged(Conflict):
    """Asked a second time a peer gave other headers than those whose work it showed.

    A chain that was reorganised between does that too: it is asked again later.
    """

    code = "headers-changed"
    text = "headers from height {height} are not those that the peer gave before"
    advice = "Nothing need be done: the peer is asked again from the start a little later."
