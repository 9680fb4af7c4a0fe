"""Where the seed of a node's named accounts comes from.

Law: with a password the seed is in a keystore in the home, sealed as wallets are, made the first
time and never written again. The published seed is for development chains alone. The password
comes by a descriptor, a variable of the environment or a file of the owner's, never as an argument.
"""

import os
from pathlib import Path

from chaind.cli.wallet_files import WalletFile
from chaind.cli.wallet_secrets import SECRET_BYTES_MAX, SecretAbsent, read_secret
from chaind.node.config import CUSTODY_PASSWORD_VARIABLE, Config, SettingFileAbsent
from chaind.node.home import Home
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import Genesis
from chaind.storage.files import OsFiles
from chaind.wallet.accounts import empty_wallet
from chaind.wallet.derivation import DEVELOPMENT_MNEMONIC, seed_from_mnemonic
from chaind.wallet.keystore import LOG2_N_FLOOR, Contents, SealedPart
from chaind.wallet.mnemonic import WordsInvalid, mnemonic_from_entropy, read_mnemonic
from chaind.wallet.secret import Secret

MNEMONIC_BYTES_MAX = 4_096  # 24 words and much space around them
ENTROPY_BYTES = 32
_OTHERS = 0o077


class MnemonicFileInvalid(LocalFault):
    """What the custody's file holds is no mnemonic. Says nothing of what it holds."""

    code = "mnemonic-file-invalid"
    text = "{path}, named by [custody] mnemonic_file, holds no mnemonic: {reason}"
    advice = "Write the 12 to 24 words of the mnemonic into it, apart by blanks, and nothing else."
    exit_code = 78  # EX_CONFIG


class NoMnemonic(LocalFault):
    """Custody without keys of one's own, on a chain where the published ones would be robbed."""

    code = "no-mnemonic"
    text = "[custody] is enabled, but {chain} is no development chain"
    advice = (
        "Give a password (CHAIND_CUSTODY_PASSWORD, [custody] password_file or password_fd): the "
        "node then makes a seed of its own, encrypted. Or disable custody."
    )
    exit_code = 78  # EX_CONFIG


class CustodyLocked(LocalFault):
    """The home has a seed of its own, and nothing opens it."""

    code = "custody-locked"
    text = "{path} holds the seed of the named accounts, and no password was given"
    advice = "Give it: CHAIND_CUSTODY_PASSWORD, [custody] password_file or [custody] password_fd."
    exit_code = 77  # EX_NOPERM


class PasswordFileInvalid(LocalFault):
    """A password that others can read, or none."""

    code = "password-file-invalid"
    text = "{path}, named by [custody] password_file, is refused: {reason}"
    advice = "Write the password into its first line, and let its owner alone read it (chmod 600)."
    exit_code = 78  # EX_CONFIG


class CustodyExposed(LocalFault):
    """Keys that spend, at an address that other machines reach, with no token that was chosen."""

    code = "custody-exposed"
    text = "[custody] is enabled, [api] host is {host}, and [api] token_file names no token"
    advice = (
        "Keep [api] host on loopback, or name a file with a token in [api] token_file, which "
        "callers must then send; or disable custody."
    )
    exit_code = 78  # EX_CONFIG


def custody_file(home: Home) -> WalletFile:
    """The keystore of a home."""
    return WalletFile(home.custody, log2_n=LOG2_N_FLOOR)


def custody_password(config: Config) -> Secret[str] | None:
    """The password, where one is given. Raises `PasswordFileInvalid` or `SecretAbsent`."""
    section = config.custody
    if section.password_fd >= 0:
        return read_secret("password", section.password_fd, "password")
    if os.environ.get(CUSTODY_PASSWORD_VARIABLE):
        return read_secret("password", None, "password", variable=CUSTODY_PASSWORD_VARIABLE)
    return _from_file(Path(section.password_file).expanduser()) if section.password_file else None


def _from_file(path: Path) -> Secret[str]:
    if not path.exists():
        raise SettingFileAbsent(name="[custody] password_file", path=path)
    if path.stat().st_mode & _OTHERS:
        raise PasswordFileInvalid(path=path, reason="others may read or change it")
    lines = OsFiles().read(path, 0, SECRET_BYTES_MAX).split(b"\n")
    try:
        text = lines[0].removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise PasswordFileInvalid(path=path, reason="it is not text in UTF-8") from None
    if not text:
        raise PasswordFileInvalid(path=path, reason="its first line is empty")
    return Secret(text)


def custody_seed(config: Config, genesis: Genesis, home: Home) -> bytes | None:
    """Seed of the named accounts, None where custody is off. Made where there is none yet.

    Raises the errors of this module, `SecretAbsent`, `SettingFileAbsent`, or of the keystore.
    """
    if not config.custody.enabled:
        return None
    mnemonic = _given_mnemonic(config)
    try:
        password = custody_password(config)
    except SecretAbsent as error:
        raise CustodyLocked(path=home.custody) from error
    if password is not None:
        return open_or_create(custody_file(home), genesis, password, mnemonic).sealed.seed
    if home.custody.exists():
        raise CustodyLocked(path=home.custody)
    if mnemonic is not None:
        return seed_from_mnemonic(mnemonic.reveal())
    if not genesis.dev:
        raise NoMnemonic(chain=genesis.name)
    return seed_from_mnemonic(DEVELOPMENT_MNEMONIC)


def open_or_create(
    file: WalletFile, genesis: Genesis, password: Secret[str], mnemonic: Secret[str] | None
) -> Contents:
    """What the keystore holds; where there is none, it is made of the mnemonic, or of chance."""
    if file.path.exists():
        return file.unseal(password)
    words = mnemonic or Secret(mnemonic_from_entropy(os.urandom(ENTROPY_BYTES)))
    seed = seed_from_mnemonic(words.reveal())
    # No extended public key stands in the open part: with it one exported key would tell all.
    contents = Contents(empty_wallet(genesis.addresses).open, SealedPart(words.reveal(), seed, {}))
    file.create(contents, password)
    return contents


def _given_mnemonic(config: Config) -> Secret[str] | None:
    if not config.custody.mnemonic_file:
        return None
    path = Path(config.custody.mnemonic_file).expanduser()
    if not path.exists():
        raise SettingFileAbsent(name="[custody] mnemonic_file", path=path)
    try:
        return Secret(read_mnemonic(OsFiles().read(path, 0, MNEMONIC_BYTES_MAX).decode()))
    except UnicodeDecodeError:
        raise MnemonicFileInvalid(path=path, reason="it is not text in UTF-8") from None
    except WordsInvalid as error:
        raise MnemonicFileInvalid(path=path, reason=error.values["reason"]) from None
