"""Settings: one meaning wherever they come from, and every wrong one refused by name."""

import re
import tomllib
from pathlib import Path

import pytest

from chaind.node.config import (
    FILE_NAME,
    KEYS,
    Config,
    ConfigInvalid,
    ConfigUnreadable,
    SettingInvalid,
    SettingUnknown,
    load,
)

DOCUMENTED = Path(__file__).parents[2] / FILE_NAME


def from_text(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "my.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, {})


def test_documented_file_holds_every_setting_with_its_default() -> None:
    assert load(DOCUMENTED, {}) == Config()
    tables = tomllib.loads(DOCUMENTED.read_text(encoding="utf-8"))
    assert {name: list(table) for name, table in tables.items()} == {
        section: list(keys) for section, keys in KEYS.items()
    }


def test_documented_file_has_a_comment_before_every_setting_or_group() -> None:
    blocks = re.split(r"\n(?=#)|\n\n", DOCUMENTED.read_text(encoding="utf-8"))
    bare = [block for block in blocks if re.match(r"[a-z_]+ =", block)]
    assert bare == []


def test_without_file_and_environment_the_defaults_hold() -> None:
    assert load(None, {"PATH": "/bin", "HOME": "/root"}) == Config()


def test_later_sources_win_file_environment_command_line(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("[api]\napi_port = 1\nhost = 'file'\n[network]\np2p_port = 1\n")
    environ = {"CHAIND_API_API_PORT": "2", "CHAIND_NETWORK_P2P_PORT": "2"}
    config = load(path, environ, {"api.api_port": 3, "network.p2p_port": None})
    assert (config.api.host, config.api.api_port, config.network.p2p_port) == ("file", 3, 2)


@pytest.mark.parametrize(
    ("variable", "text", "section", "key", "value"),
    [
        ("CHAIND_CUSTODY_ENABLED", "true", "custody", "enabled", True),
        ("CHAIND_CUSTODY_ENABLED", "False", "custody", "enabled", False),
        ("CHAIND_API_API_PORT", "0", "api", "api_port", 0),
        ("CHAIND_NETWORK_PEERS", "a:1, [::1]:65535 ,", "network", "peers", ("a:1", "[::1]:65535")),
        ("CHAIND_NETWORK_PEERS", "", "network", "peers", ()),
        ("CHAIND_PAYMENTS_REQUIRE_KEY", "1", "payments", "require_key", True),
        ("CHAIND_NODE_NAME", "12", "node", "name", "12"),
        ("CHAIND_LOG_FORMAT", "json", "log", "format", "json"),
        ("CHAIND_CHAOS_ENABLED", "true", "chaos", "enabled", True),
        ("CHAIND_MINER_DEVICE_INDEXES", "0, 3", "miner", "device_indexes", (0, 3)),
        ("CHAIND_MINER_DEVICE_INDEXES", "", "miner", "device_indexes", ()),
    ],
)
def test_environment_is_read_as_the_type_of_the_setting(
    variable: str, text: str, section: str, key: str, value: object
) -> None:
    assert getattr(getattr(load(None, {variable: text}), section), key) == value


@pytest.mark.parametrize(
    ("text", "name", "value", "allowed"),
    [
        ("[api]\napi_port = 65536", "[api] api_port", "65536", "a whole number from 0 to 65535"),
        ("[api]\napi_port = '80'", "[api] api_port", '"80"', "a whole number from 0 to 65535"),
        ("[api]\napi_port = true", "[api] api_port", "true", "a whole number from 0 to 65535"),
        ("[custody]\nenabled = 1", "[custody] enabled", "1", "true or false"),
        ("[log]\nlevel = 'trace'", "[log] level", '"trace"', "one of"),
        ("[node]\nname = ''", "[node] name", '""', "text that is not empty"),
        ("[network]\npeers = 'a:1'", "[network] peers", '"a:1"', 'each item "HOST:PORT"'),
        ("[network]\npeers = ['a:65536']", "[network] peers", '["a:65536"]', '"HOST:PORT"'),
        ("[network]\npeers = ['a']", "[network] peers", '["a"]', '"HOST:PORT"'),
        ("[api]\nhost = 1979-05-27", "[api] host", '"1979-05-27"', "text"),
    ],
)
def test_value_out_of_range_names_file_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, name: str, value: str, allowed: str
) -> None:
    with pytest.raises(SettingInvalid) as caught:
        from_text(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/my.toml: {name} = {value} is not allowed")
    assert allowed in message


def test_wrong_value_in_the_environment_names_the_variable() -> None:
    with pytest.raises(SettingInvalid, match=r"variable CHAIND_CUSTODY_ENABLED:.*true or false"):
        load(None, {"CHAIND_CUSTODY_ENABLED": "maybe"})


@pytest.mark.parametrize(
    ("text", "name", "hint"),
    [
        ("[api]\napi_prt = 1", "[api] api_prt", "Did you mean [api] api_port?"),
        ("[network]\napi_port = 1", "[network] api_port", "Did you mean [network] p2p_port?"),
        ("[node]\np2p_port = 1", "[node] p2p_port", "Did you mean [network] p2p_port?"),
        (
            "[custody]\nqqq = 1",
            "[custody] qqq",
            "[custody] has: enabled, mnemonic_file, password_file, password_fd.",
        ),
        ("[netwrk]\np2p_port = 1", "[netwrk]", "Did you mean [network]?"),
        ("[zzz]\nx = 1", "[zzz]", "The sections are: node, network, api, payments, mempool"),
        ("api_port = 1", "api_port", "Did you mean [api] api_port?"),
    ],
)
def test_unknown_setting_names_the_nearest_real_one(
    tmp_path: Path, text: str, name: str, hint: str
) -> None:
    with pytest.raises(SettingUnknown) as caught:
        from_text(tmp_path, text)
    assert f"my.toml: there is no setting {name}. {hint}" in str(caught.value)


@pytest.mark.parametrize("variable", ["CHAIND_API_PRT", "CHAIND_APY_API_PORT", "CHAIND_"])
def test_unknown_variable_is_refused(variable: str) -> None:
    with pytest.raises(SettingUnknown, match=f"environment variable {variable}"):
        load(None, {variable: "1"})


def test_variables_that_others_set_are_left_alone() -> None:
    environ = {
        "CHAIND_PYTHON": "python3.12",
        "CHAIND_SERVICE_HOST": "10.0.0.1",
        "CHAIND_SERVICE_PORT_API": "8080",
        "CHAIND_PORT": "tcp://10.0.0.1:8080",
        "CHAIND_PORT_8080_TCP_ADDR": "10.0.0.1",
    }
    assert load(None, environ) == Config()


@pytest.mark.parametrize("content", [b"[api", b"\xff\xfe", b"[api]\nhost = 'a'\nhost = 'b'"])
def test_file_that_is_no_toml_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "my.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigUnreadable, match=re.escape(str(path))):
        load(path, {})


def test_missing_file_is_refused_with_the_exit_code_of_a_configuration_error(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigInvalid, match="No such file") as caught:
        load(tmp_path / "none.toml", {})
    assert caught.value.exit_code == 78


def test_home_and_validator_key_default_into_place(tmp_path: Path) -> None:
    named = load(None, {"CHAIND_NODE_HOME": str(tmp_path)}).node
    assert named.home_path() == tmp_path
    assert named.validator_key_path() == tmp_path / "validator.key"
    assert load(None, {"CHAIND_NODE_HOME": "~/x"}).node.home_path() == Path.home() / "x"
    assert Config().node.home_path().name == "chaind"
    mounted = load(None, {"CHAIND_NODE_VALIDATOR_KEY": "/run/secrets/key"}).node
    assert mounted.validator_key_path() == Path("/run/secrets/key")
