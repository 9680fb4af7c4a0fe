"""How much one message carries: votes by number, certificates by number and by bytes.

A certificate has a signature of 64 bytes for each of its voters, so it is 250 bytes among four
validators and 180 kB among 4,096. Receivers take as many as fit a frame, but no more of them than
`BUNDLE_MAX`.
"""

from collections.abc import Iterable

from chaind.primitives.votes import Certificate

BUNDLE_MAX = 256  # votes (30 kB), or certificates: of views that failed for half an hour
# A quarter of a frame: a proposal has 2.3 MB beside it. The largest certificate has 270 kB.
BUNDLE_BYTES_MAX = 1 << 20


def first_bundle(certificates: Iterable[Certificate]) -> tuple[Certificate, ...]:
    """As many of them, from the first on, as go into one message."""
    found: list[Certificate] = []
    size = 0
    for certificate in certificates:
        size += len(certificate.encode())
        if size > BUNDLE_BYTES_MAX or len(found) == BUNDLE_MAX:
            break
        found.append(certificate)
    return tuple(found)
