"""What can go wrong on this machine's disk. Every leaf names the path and says what to do.

Exit codes, stable for supervisors (80–99 is clear of sysexits.h, 64–78, and of shells, 126 up):

| exit | error          | meaning                                              | restart helps |
|------|----------------|------------------------------------------------------|---------------|
| 80   | DirectoryInUse | another process holds the data directory             | once it ends  |
| 81   | DiskFull       | no space, or over the quota                          | after space   |
| 82   | DiskFailed     | a read, write or sync failed (EIO and its kin)       | perhaps once  |
| 83   | LogCorrupt     | an append-only log is damaged before its tail        | no            |
| 84   | StoreCorrupt   | LevelDB found damage                                 | no            |
| 85   | StoreLocked    | LevelDB's own lock on the store is taken             | once it ends  |
| 86   | DiskDenied     | permissions or a read-only mount                     | no            |
| 87   | FileMissing    | a file or directory that must exist does not         | no            |
| 89   | DiskStalled    | the disk is so slow that the node cannot go on       | perhaps       |
| 90   | PathTaken      | something else stands where a file has to go         | no            |

88 is `chain_store.WrongDirectory`. `NoSuchRecord` and `LogBacklog` are answers, not ends: they have
no exit code.
"""

from chaind.primitives.errors import LocalFault, TooMany, Unknown


class DirectoryInUse(LocalFault):
    """A second node on the same data directory would break both."""

    code = "directory-in-use"
    exit_code = 80
    text = "{path} is in use by process {pid}"
    advice = "Stop that process first, or give this node a directory of its own with --home."


class DiskFull(LocalFault):
    """ENOSPC or EDQUOT."""

    code = "disk-full"
    exit_code = 81
    text = "no space left to {operation} {path}: {reason}"
    advice = (
        "Free space or raise the quota, then try again. A node has lost nothing that was final."
    )


class DiskFailed(LocalFault):
    """The disk or file system refused; what was unsynced may be lost, and is treated as lost."""

    code = "disk-failed"
    exit_code = 82
    text = "cannot {operation} {path}: {reason}"
    advice = "Look at the kernel log (dmesg) and the health of the disk before trying again."


class LogCorrupt(LocalFault):
    """A record that was once complete no longer is, or a segment is not where it belongs."""

    code = "log-corrupt"
    exit_code = 83
    text = "{path} is damaged at byte {offset}: {reason}"
    advice = (
        "Check the disk and keep the file. Move the data directory aside and let the node fetch "
        "the chain from its peers; a validator must not vote with the same key again before the "
        "views that it may have voted in are final."
    )


class StoreCorrupt(LocalFault):
    """LevelDB reports damage, or its directory is incomplete."""

    code = "store-corrupt"
    exit_code = 84
    text = "the store {path} is damaged: {reason}"
    advice = (
        "Check the disk. Move this store directory aside and start again: it is rebuilt from "
        "stored blocks or fetched from peers."
    )


class StoreLocked(LocalFault):
    """LevelDB's own lock is taken."""

    code = "store-locked"
    exit_code = 85
    text = "the store {path} is already open: {reason}"
    advice = "Stop the process that has it open, then start again."


class DiskDenied(LocalFault):
    """EACCES, EPERM or EROFS."""

    code = "disk-denied"
    exit_code = 86
    text = "not allowed to {operation} {path}: {reason}"
    advice = "Check owner, mode and mount options of the path, and which user this runs as."


class FileMissing(LocalFault):
    """ENOENT."""

    code = "file-missing"
    exit_code = 87
    text = "cannot {operation} {path}: {reason}"
    advice = "Check the path, and restore from a copy what was there before."


class PathTaken(FileMissing):
    """ENOTDIR, EEXIST, EISDIR, ENAMETOOLONG or ELOOP: the file is not there, and cannot be."""

    code = "path-taken"
    exit_code = 90
    text = "cannot {operation} {path}: {reason}"
    advice = "Something else stands at that path, or it cannot be a path: name another one."


class DiskStalled(LocalFault):
    """What the node must keep waits for the disk beyond all bounds, and it cannot be refused."""

    code = "disk-stalled"
    exit_code = 89
    text = "the disk does not keep up: {log} has {bytes} bytes waiting for it, {bytes_max} allowed"
    advice = (
        "See what else uses the disk and whether it is well, or move the data directory to a "
        "faster one; then start the node again. Nothing that was acknowledged is lost."
    )


class NoSuchRecord(Unknown):
    """The log holds no record at this position: dropped, or never written."""

    code = "no-such-record"
    text = "{log} has no record at segment {segment}, offset {offset}"
    advice = "Ask for a position that the log has given out and not dropped since."


class LogBacklog(TooMany):
    """The disk is slower than callers who can come back; taking more would hide it in memory."""

    code = "log-backlog"
    text = "{log} has {bytes} bytes waiting for the disk, {bytes_max} allowed"
    advice = "Try again shortly; if it lasts, the disk is too slow or stalled."
