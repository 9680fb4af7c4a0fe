"""How secrets come into the process: a prompt, a file descriptor, or an environment variable.

Law: never an argument, which every user of the machine can read in the list of processes. What is
read is wrapped at once, and the process leaves no core behind that could hold it.
"""

import ctypes
import os
import resource
import sys

import click

from chaind.cli.variables import is_utf8
from chaind.primitives.errors import LocalFault
from chaind.wallet.secret import Secret

PASSWORD_VARIABLE = "CHAIND_WALLET_PASSWORD"  # noqa: S105 — a name
SECRET_BYTES_MAX = 4_096
_PR_SET_DUMPABLE = 4  # prctl(2)


class SecretAbsent(LocalFault):
    """No secret came, or there is nobody to ask."""

    code = "secret-absent"
    text = "no {what} was given: {reason}. Hand it over with --{option}-fd N{more}."
    advice = "Secrets are no arguments: every user of the machine can read those."
    exit_code = 77  # EX_NOPERM


def forbid_core_dumps() -> None:
    """Neither a crash nor another process of this user gets at the memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def read_password(descriptor: int | None, *, new: bool) -> Secret[str]:
    """The wallet's password; asked for twice where it is `new`. Raises `SecretAbsent`."""
    return read_secret("password", descriptor, "password", twice=new, variable=PASSWORD_VARIABLE)


def read_secret(
    what: str, descriptor: int | None, option: str, *, twice: bool = False, variable: str = ""
) -> Secret[str]:
    """One line from a descriptor, else a variable of the environment, else typed on the terminal,
    unseen. Raises `SecretAbsent`.

    `option` is the command's --OPTION-fd.
    """

    def absent(reason: str) -> SecretAbsent:
        more = f" or in {variable}" if variable else ""
        return SecretAbsent(what=what, reason=reason, option=option, more=more)

    if descriptor is None:
        text = os.environ.get(variable, "")
        if not text and not sys.stdin.isatty():
            raise absent("there is no terminal to ask on")
        try:
            text = text or _ask(what, twice=twice)
        except UnicodeDecodeError:
            raise absent("it is not UTF-8") from None
        if not is_utf8(text):
            raise absent("it is not UTF-8")
        return Secret(text)
    try:
        line = _read_line(descriptor)
    except OSError as error:
        raise absent(f"descriptor {descriptor}: {error.strerror}") from None
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise absent("it is not UTF-8") from None
    if not text:
        raise absent(f"descriptor {descriptor} has an empty line")
    return Secret(text)


def _ask(what: str, *, twice: bool) -> str:
    typed: str = click.prompt(
        what.capitalize(), hide_input=True, confirmation_prompt=twice, err=True
    )
    return typed


def _read_line(descriptor: int) -> bytes:
    """Up to the line's end and no further, so that one descriptor can carry several secrets."""
    line = bytearray()
    while len(line) < SECRET_BYTES_MAX and (byte := os.read(descriptor, 1)) not in (b"", b"\n"):
        line += byte
    return bytes(line).removesuffix(b"\r")
