"""The exit statuses of `chaind`, for scripts and supervisors: what each of them tells.

Law: a number means the same in every command. 64 to 78 are those of sysexits.h; 80 to 90 are of the
disk, each told apart in `chaind.storage.errors`; 128 and a signal's number is the shell's way.
"""

STATUSES = (
    ("0", "done"),
    ("1", "refused by a rule or a node, or a check found something wrong"),
    ("2, 64", "the command line makes no sense, or names a file that is not there"),
    ("65, 66", "a file does not hold what it must, or a wallet is not there"),
    ("69", "a node gives no answer, or a port cannot be had"),
    ("70, 71, 74", "a node ended by a fault, which its log tells"),
    ("73", "something is there already that is not replaced"),
    ("75", "not in time: the same command may succeed later"),
    ("77", "a token, password or key is missing or wrong"),
    ("78", "a setting, a variable or a file that it names is wrong"),
    ("80, 85", "another process uses the directory"),
    ("81, 82, 89", "the disk is full, fails, or is too slow"),
    ("83, 84, 88", "data are damaged, or of another chain"),
    ("86, 87, 90", "a path is not permitted, missing, or taken"),
    ("130", "ended by Ctrl-C (a node and a miner end in order: 0)"),
)


def describe() -> str:
    """The table as `--help` shows it, in a block that click does not fill."""
    lines = [f"  {numbers:<12}{meaning}" for numbers, meaning in STATUSES]
    return "\n".join(["\b", "Exit statuses:", *lines])
