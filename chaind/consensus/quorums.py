"""Quorum arithmetic: how much weight proves what.

n is the total weight, f of it may be Byzantine, p more may be silent on the fast path:

    n ≥ 3f + 2p + 1    Q = ⌊(n+f)/2⌋ + 1    F = n − p    T = f + p + 1
"""

from collections.abc import Sequence

from chaind.primitives.errors import LocalFault, Malformed, PeerFault
from chaind.primitives.votes import Certificate, CertificateKind


class QuorumsInvalid(LocalFault):
    """These weights and fault bounds cannot agree on anything."""

    code = "quorums-invalid"
    text = "weights of {total} in all cannot bear f = {byzantine}, p = {silent}: {reason}"
    advice = "Choose positive weights, f, p ≥ 0 and a total of at least 3f + 2p + 1."
    exit_code = 78  # EX_CONFIG


class QuorumMissing(Malformed, PeerFault):
    """A certificate of too little weight, or with a signer that is no validator."""

    code = "quorum-missing"
    text = "certificate for view {view} carries weight {weight}, {needed} are needed"


class Quorums:
    """Weights of one epoch's validators, by index, and the thresholds that follow."""

    __slots__ = (
        "byzantine",
        "fallbacks_max",
        "fast",
        "quorum",
        "silent",
        "threshold",
        "total",
        "weights",
    )

    def __init__(
        self, weights: Sequence[int], *, byzantine: int | None = None, silent: int | None = None
    ) -> None:
        """f and p default to the largest that the total bears. Raises `QuorumsInvalid`."""
        self.weights = tuple(weights)
        self.total = n = sum(self.weights)
        self.byzantine = f = (n - 1) // 3 if byzantine is None else byzantine
        self.silent = p = (n - 3 * f - 1) // 2 if silent is None else silent
        reason = ""
        if not self.weights or min(self.weights) < 1:
            reason = "every weight must be positive"
        elif f < 0 or p < 0 or n < 3 * f + 2 * p + 1:
            reason = "too many faults"
        if reason:
            raise QuorumsInvalid(total=n, byzantine=f, silent=p, reason=reason)
        self.quorum = (n + f) // 2 + 1
        self.fast = n - p
        self.threshold = f + p + 1
        # As many blocks as can have T of the FIRST votes: two, unless f, p are chosen smaller.
        self.fallbacks_max = max(2, n // self.threshold)

    def needed(self, kind: CertificateKind) -> int:
        """The weight that a certificate of this kind carries at least."""
        return self.fast if kind is CertificateKind.FAST else self.quorum


def check_certificate(certificate: Certificate, quorums: Quorums) -> None:
    """Raise `QuorumMissing` unless the signers are validators of enough weight.

    The form (`check_certificate_form`) is checked before, the signatures after.
    """
    voters = certificate.voters()
    needed = quorums.needed(certificate.kind)
    known = len(quorums.weights)
    weight = sum(quorums.weights[voter] for voter in voters if voter < known)
    if weight < needed or (voters and voters[-1] >= known):
        raise QuorumMissing(view=certificate.view, weight=weight, needed=needed)
