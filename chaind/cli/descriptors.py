"""How many files and connections this process may have open: as many as a node can need."""

import resource

# 1,024 connections of the API and 128 of peers, the 1,000 files that LevelDB keeps, and the logs.
DESCRIPTORS = 4_096


def raise_limit() -> int:
    """Raise the soft limit to what a node needs, as far as the hard one lets it; the new one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= DESCRIPTORS:
        return soft
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
