"""Broken rules of mined headers. Hashes are in display order, times in Unix seconds."""

from chaind.primitives.errors import Malformed, PeerFault, RuleBroken, Temporary


class HeadersCut(Malformed, PeerFault):
    """Headers are not a whole number of 80-byte records."""

    code = "headers-cut"
    text = "{length} bytes are not a whole number of 80-byte headers"


class HeaderUnlinked(RuleBroken, PeerFault):
    """A header does not name the one before it as its parent."""

    code = "header-unlinked"
    text = "header {height} follows {given}, but the header before it is {expected}"


class GenesisMismatch(RuleBroken, PeerFault):
    """Header 0 is another chain's."""

    code = "genesis-mismatch"
    text = "header 0 is {given}, this chain begins with {expected}"


class BitsUnexpected(RuleBroken, PeerFault):
    """A header sets its own difficulty. Bitcoin's bad-diffbits."""

    code = "bad-diffbits"
    text = "header {height} has bits {given:#010x}, the retarget rule gives {expected:#010x}"


class TargetTooEasy(RuleBroken, PeerFault):
    """A target above the chain's limit."""

    code = "target-too-easy"
    text = "header {height} has bits {given:#010x}, the easiest allowed are {limit:#010x}"


class HashTooHigh(RuleBroken, PeerFault):
    """The work was not done. Bitcoin's high-hash."""

    code = "high-hash"
    text = "header {height} hashes to {hash}, above its target {target:064x}"


class TimeTooOld(RuleBroken, PeerFault):
    """Not later than the median of the eleven headers before. Bitcoin's time-too-old."""

    code = "time-too-old"
    text = "header {height} has time {time}, the median of those before it is {median}"


class TimeTooSoon(RuleBroken, PeerFault):
    """Too close to the parent."""

    code = "time-too-soon"
    text = "header {height} has time {time}, {interval_ms} ms after its parent begin later"


class TimeWarped(RuleBroken, PeerFault):
    """A window begins long before the one before it ended. BIP-94's time-timewarp-attack."""

    code = "time-timewarp-attack"
    text = "header {height} opens a window at time {time}, its parent has {parent_time}"


class TimeTooNew(RuleBroken, Temporary):
    """From the future: becomes valid by waiting. Bitcoin's time-too-new."""

    code = "time-too-new"
    text = "header {height} has time {time}, more than {future_ms} ms after the clock's {now}"
    advice = "Set the clocks of this machine and of the miner's by NTP, then try again."
