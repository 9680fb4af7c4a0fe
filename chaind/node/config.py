"""What one node chooses for itself: never a rule that the network must share (those are genesis).

Every setting is a field here, in the section that `chaind.toml` and `CHAIND_SECTION_KEY` name it
by; its type is its check. Later sources win: defaults, file, environment, command line. Whatever
is not a setting, or not allowed for one, is refused by name. Nothing here reads a secret.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct, inspect
from platformdirs import user_data_path

from chaind.node.home import Home
from chaind.primitives.amounts import AMOUNT_MAX, UNIT
from chaind.primitives.errors import LocalFault

FILE_NAME = "chaind.toml"
DEV_CHAIN = "dev"
ENVIRONMENT_PREFIX = "CHAIND_"
_PYTHON_OF_SCRIPTS = "CHAIND_PYTHON"
# Options of `chaind load` and `chaind stress`, which refuse what they do not know.
_OPTION_PREFIXES = ("CHAIND_LOAD_", "CHAIND_STRESS_")
_WEBHOOK_SECRET = "CHAIND_WEBHOOK_SECRET"  # noqa: S105 — of `chaind webhooks`, no setting
CUSTODY_PASSWORD_VARIABLE = "CHAIND_CUSTODY_PASSWORD"  # noqa: S105 — a name, of no setting
_MINE_PASSWORD = "CHAIND_MINE_PASSWORD"  # noqa: S105 — of `chaind mine`, no setting
_WALLET_PREFIX = "CHAIND_WALLET_"  # of `chaind wallet`: a password may be among them
# Kubernetes sets these in every pod beside a service called chaind.
_SERVICE_VARIABLE = re.compile(r"CHAIND_(SERVICE_HOST|SERVICE_PORT\w*|PORT(_\w+)?)")
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_HOST_PORT = rf"(\[[0-9A-Fa-f:.]+\]|[^\[\]:\s/]+):{_PORT}"

Text = Annotated[str, Meta(min_length=1, description="text that is not empty")]
PathText = Annotated[str, Meta(max_length=1_024, description="a path that can exist")]
GenesisText = Annotated[str, Meta(min_length=1, max_length=1_024, description='"dev" or a path')]
_PATHS = (PathText, GenesisText)
_NAME_BYTES_MAX = 255  # of one part of a path, on every file system of Linux
Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
CardIndex = Annotated[int, Meta(ge=0, le=63, description="a card's number from 0 to 63")]
Coins = Annotated[int, Meta(ge=1, le=AMOUNT_MAX // UNIT)]
Bytes = Annotated[int, Meta(ge=1_024, le=1 << 40)]
HostPort = Annotated[
    str, Meta(pattern=f"^{_HOST_PORT}$", description='"HOST:PORT", port 1 to 65535')
]


class ConfigInvalid(LocalFault):
    """The configuration cannot be used. Leaves say what is wrong and where it was read."""

    exit_code = 78  # EX_CONFIG of sysexits.h


class ConfigUnreadable(ConfigInvalid):
    """The file is missing, unreadable or not TOML."""

    code = "config-unreadable"
    text = "{source} cannot be read: {reason}"
    advice = "The file chaind.toml of the source tree documents every setting."


class SettingUnknown(ConfigInvalid):
    """A section or key that does not exist."""

    code = "setting-unknown"
    text = "{source}: there is no setting {name}. {hint}"
    advice = (
        "Correct or remove it; the file chaind.toml of the source tree documents every setting."
    )


class SettingInvalid(ConfigInvalid):
    """A value outside what its setting allows."""

    code = "setting-invalid"
    text = "{source}: {name} = {value} is not allowed: it must be {allowed}"
    advice = "Correct the value; the file chaind.toml of the source tree documents every setting."


class SettingFileAbsent(ConfigInvalid):
    """A setting names a file that the node has to read."""

    code = "setting-file-absent"
    text = "{name} names {path}, and there is no such file"
    advice = "Put the file there, correct the path, or leave the setting empty for its default."


class NodeSection(Struct, frozen=True, kw_only=True):
    """Who this node is and where it keeps its data."""

    home: PathText = ""
    chain: GenesisText = DEV_CHAIN
    name: Text = "node"
    validator_key: PathText = ""

    def home_path(self) -> Path:
        """The data directory: the one named, or the user's own."""
        return Path(self.home).expanduser() if self.home else user_data_path("chaind")

    def validator_key_path(self) -> Path:
        """Where the validator's key is, if this node has one."""
        if self.validator_key:
            return Path(self.validator_key).expanduser()
        return Home(self.home_path()).validator_key


class NetworkSection(Struct, frozen=True, kw_only=True):
    """The P2P door."""

    host: Text = "127.0.0.1"
    p2p_port: Port = 9080
    peers: tuple[HostPort, ...] = ()
    max_peers: Annotated[int, Meta(ge=1, le=1_000)] = 64


class ApiSection(Struct, frozen=True, kw_only=True):
    """The HTTP door."""

    host: Text = "127.0.0.1"
    api_port: Port = 8080
    allowed_hosts: tuple[Text, ...] = ("localhost", "127.0.0.1", "::1")
    token_file: PathText = ""
    body_bytes_max: Bytes = 1 << 20
    batch_bytes_max: Bytes = 16 << 20
    requests_per_second: Count = 2_000
    requests_burst: Count = 4_000


class MempoolSection(Struct, frozen=True, kw_only=True):
    """How much this node is willing to keep waiting."""

    transactions_max: Count = 200_000
    bytes_max: Bytes = 128 << 20
    owner_transactions_max: Count = 20_000
    owner_bytes_max: Bytes = 16 << 20


class CustodySection(Struct, frozen=True, kw_only=True):
    """Whether this node keeps the keys of named accounts, and spends them when asked."""

    enabled: bool = False
    mnemonic_file: PathText = ""
    password_file: PathText = ""
    password_fd: Annotated[int, Meta(ge=-1, le=1_023)] = -1


class PaymentsSection(Struct, frozen=True, kw_only=True):
    """What this node asks of payments. How long keys are remembered is the genesis's `lease_ms`."""

    require_key: bool = False


class FaucetSection(Struct, frozen=True, kw_only=True):
    """How much the faucet of a development chain gives, in whole native coins."""

    gift_max: Coins = 100_000
    address_per_hour_max: Coins = 1_000_000
    total_per_hour_max: Coins = 100_000_000


class ChaosSection(Struct, frozen=True, kw_only=True):
    """Whether a caller may make this node die, to see that nothing is lost by it."""

    enabled: bool = False


class MinerSection(Struct, frozen=True, kw_only=True):
    """On chains of miners: whether this node mines itself, and how it serves other miners."""

    enabled: bool = False
    device: Literal["auto", "gpu", "cpu"] = "auto"
    device_indexes: tuple[CardIndex, ...] = ()
    intensity: Annotated[int, Meta(ge=1, le=100)] = 100
    threads: Annotated[int, Meta(ge=1, le=1_024)] = 1
    address: str = ""
    pace_percent: Annotated[int, Meta(ge=0, le=1_000)] = 0
    stratum_host: Text = "127.0.0.1"
    stratum_port: Port = 0
    shares_per_minute: Annotated[int, Meta(ge=1, le=60_000)] = 15
    connections_max: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    connections_per_host_max: Annotated[int, Meta(ge=1, le=100_000)] = 256
    rpc_password_file: PathText = ""
    rpc_self_paid: tuple[Text, ...] = ()


class WebhooksSection(Struct, frozen=True, kw_only=True):
    """Where webhooks may go, and for how long one event is tried."""

    allow_private: bool = False
    retry_for_s: Count = 86_400


class LogSection(Struct, frozen=True, kw_only=True):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class Config(Struct, frozen=True, kw_only=True):
    """One node's settings, by section."""

    node: NodeSection = NodeSection()
    network: NetworkSection = NetworkSection()
    api: ApiSection = ApiSection()
    payments: PaymentsSection = PaymentsSection()
    mempool: MempoolSection = MempoolSection()
    custody: CustodySection = CustodySection()
    faucet: FaucetSection = FaucetSection()
    chaos: ChaosSection = ChaosSection()
    miner: MinerSection = MinerSection()
    webhooks: WebhooksSection = WebhooksSection()
    log: LogSection = LogSection()

    def named_files(self) -> list[Path]:
        """Files that settings name."""
        custody = self.custody
        texts = (
            self.node.validator_key,
            self.api.token_file,
            custody.mnemonic_file,
            custody.password_file,
            self.miner.rpc_password_file,
        )
        return [Path(text).expanduser() for text in texts if text]


SECTIONS: dict[str, type[Struct]] = {
    field.name: type(field.default) for field in msgspec.structs.fields(Config)
}
KEYS: dict[str, dict[str, type]] = {
    section: {field.name: field.type for field in msgspec.structs.fields(struct)}
    for section, struct in SECTIONS.items()
}


class _Setting(NamedTuple):
    """One value as it was found. `is_text` where it still has to be read as its type."""

    source: str
    section: str
    key: str
    value: object
    is_text: bool = False


def load(
    path: Path | None, environ: Mapping[str, str], options: Mapping[str, object] | None = None
) -> Config:
    """The configuration of `path` (None: built-in defaults), `environ` and command-line `options`.

    `options` maps `"section.key"` to a value; None values count as not given. Raises
    `ConfigUnreadable`, `SettingUnknown` or `SettingInvalid`.
    """
    chosen: dict[str, dict[str, object]] = {}
    for found in (*_from_file(path), *_from_environment(environ), *_from_options(options or {})):
        chosen.setdefault(found.section, {})[found.key] = _check(found)
    return Config(
        **{section: SECTIONS[section](**settings) for section, settings in chosen.items()}  # type: ignore[arg-type]
    )


def _from_file(path: Path | None) -> Iterator[_Setting]:
    if path is None:
        return
    source = str(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ConfigUnreadable(source=source, reason="nested too deeply") from None
    except UnicodeDecodeError:
        raise ConfigUnreadable(source=source, reason="it is not text in UTF-8") from None
    except ValueError as error:  # TOMLDecodeError is one, and a number without end another
        raise ConfigUnreadable(source=source, reason=f"it is not TOML: {error}") from None
    except OSError as error:
        raise ConfigUnreadable(source=source, reason=error.strerror) from None
    for section, settings in tables.items():
        if not isinstance(settings, dict):
            raise _unknown(source, "", section)
        if section not in SECTIONS:
            raise _unknown(source, section, "")
        for key, value in settings.items():
            yield _Setting(source, section, key, value)


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Setting]:
    for variable, value in environ.items():
        if (
            not variable.startswith(ENVIRONMENT_PREFIX)
            or variable
            in (_PYTHON_OF_SCRIPTS, _WEBHOOK_SECRET, _MINE_PASSWORD, CUSTODY_PASSWORD_VARIABLE)
            or variable.startswith((*_OPTION_PREFIXES, _WALLET_PREFIX))
            or _SERVICE_VARIABLE.fullmatch(variable)
        ):
            continue
        section, _, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
        source = f"environment variable {variable}"
        if section not in SECTIONS:
            raise _unknown(source, section, key)
        yield _Setting(source, section, key, value, is_text=True)


def _from_options(options: Mapping[str, object]) -> Iterator[_Setting]:
    for name, value in options.items():
        if value is not None:
            section, _, key = name.partition(".")
            yield _Setting("command line", section, key, value)


def _check(found: _Setting) -> object:
    kind = KEYS[found.section].get(found.key)
    if kind is None:
        raise _unknown(found.source, found.section, found.key)
    value = found.value
    is_list = isinstance(inspect.type_info(kind), inspect.VarTupleType)
    if found.is_text and is_list:
        value = [item.strip() for item in str(value).split(",") if item.strip()]
    try:
        _check_text(value)
        converted: object = msgspec.convert(value, kind, strict=not found.is_text)
        if kind in _PATHS:
            _check_path(str(converted))
        return converted
    except (msgspec.ValidationError, ValueError, RuntimeError):
        raise SettingInvalid(
            source=found.source,
            name=f"[{found.section}] {found.key}",
            value=_shown(found.value),
            allowed=describe(kind),
        ) from None


def _check_text(value: object) -> None:
    """Raise `ValueError` for bytes that are not UTF-8: neither JSON nor LevelDB takes them.

    Python has them in the environment and the arguments as characters without an encoding.
    """
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str):
            item.encode()


def _check_path(text: str) -> None:
    """Raise `ValueError` for what no file can be called, `RuntimeError` for an unknown `~user`."""
    parts = os.fsencode(Path(text).expanduser()).split(b"/")
    if any(char < " " for char in text) or any(len(part) > _NAME_BYTES_MAX for part in parts):
        raise ValueError


def _unknown(source: str, section: str, key: str) -> SettingUnknown:
    """The error for a section (empty: none is named) or key, naming the nearest real one."""
    name = f"[{section}] {key}".strip() if section else key
    if section in KEYS or not section:
        elsewhere = [known for known, keys in KEYS.items() if key in keys]
        near = get_close_matches(key, KEYS.get(section, ()), n=1)
        nearest = (
            f"[{section}] {near[0]}" if near else f"[{elsewhere[0]}] {key}" if elsewhere else ""
        )
        choice = (
            f"[{section}] has: {', '.join(KEYS[section])}"
            if section
            else "Settings stand in sections"
        )
    else:
        near = get_close_matches(section, KEYS, n=1)
        nearest = f"[{near[0]}] {key}".strip() if near else ""
        choice = f"The sections are: {', '.join(KEYS)}"
    hint = f"Did you mean {nearest}?" if nearest else f"{choice}."
    return SettingUnknown(source=source, name=name, hint=hint)


def describe(kind: object) -> str:
    """What a setting of this type allows, in words."""
    match inspect.type_info(kind):
        case inspect.Metadata(extra_json_schema={"description": str(words)}):
            return words
        case inspect.IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(f'"{value}"' for value in values)
        case inspect.VarTupleType(item_type=item):
            description = (getattr(item, "extra_json_schema", None) or {}).get("description")
            return f"a list, each item {description or 'text'}"
    return "text"


def _shown(value: object) -> str:
    """A value as TOML would write it, near enough to be found in the file."""
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, str):
        value = value.encode(errors="replace").decode()
    return msgspec.json.encode(value, enc_hook=str).decode()
