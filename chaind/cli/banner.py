"""What `chaind devnet` prints once the network stands: where it is, whose money, what to type."""

from collections.abc import Sequence

from chaind.cli.layout import HOST, Place, shell_line
from chaind.cli.status import NodeSilent, fetch
from chaind.primitives.address import key_address
from chaind.primitives.genesis import DEFAULT_ADDRESSES, Genesis
from chaind.primitives.hashes import display_hash
from chaind.wallet.derivation import DEVELOPMENT_MNEMONIC, FIXED_NAMES, development_key

_POST = "curl -s -X POST -H 'Content-Type: application/json'"


def banner(nodes: Sequence[Place], genesis: Genesis) -> str:
    """The whole text. Balances are asked of the first node, since a chain may have been resumed."""
    lines = ["", f"Chain {genesis.name}, genesis {display_hash(genesis.hash)}", ""]
    lines += [f"  {node.name:<8}{node.url}   P2P {node.p2p_port}" for node in nodes]
    lines += mining_lines(nodes)
    lines += ["", f"Dashboard and explorer, on any of them: {nodes[0].url}/"]
    lines += ["", f'Accounts of the published mnemonic "{DEVELOPMENT_MNEMONIC}"', ""]
    for index, name in enumerate(FIXED_NAMES):
        address = genesis.addresses.show(key_address(development_key(index).public))
        balance = _balance(nodes[0], address)
        lines.append(f"  {index + 1:>2}  {name:<7} {address}  {balance} {genesis.native_symbol}")
    lines += ["", "Try", "", *(f"  {line}" for line in examples(nodes)), ""]
    return "\n".join(lines)


def mining_lines(nodes: Sequence[Place]) -> list[str]:
    """Who mines, and how others can; nothing on a chain of validators."""
    if not nodes[0].stratum_port:
        return []
    url = f"stratum+tcp://{HOST}:{nodes[0].stratum_port}"
    # The first account, as the dashboard's command line has it.
    address = DEFAULT_ADDRESSES.show(key_address(development_key(0).public))
    mining = [node.name for node in nodes if node.mines]
    mine = f"{', '.join(mining)} {'mines' if len(mining) == 1 else 'mine'}"
    return [
        "",
        f"{mine} at a pace that keeps blocks near their spacing. Miners connect to {url}",
        "",
        f"  {shell_line(['mine', '--url', url, '--address', f'{address}.rig'])}",
        f"  minerd -a sha256d -o {url} -u {address}.rig -p x",
    ]


def examples(nodes: Sequence[Place]) -> list[str]:
    """Shell lines, each at another node as far as there are several."""
    urls = [node.url for node in nodes]
    return [
        f"""{_POST} -d '{{"to":"alice","amount":"100"}}' {urls[0]}/faucet""",
        f"""{_POST} -H 'Idempotency-Key: lunch-1' """
        f"""-d '{{"from":"alice","to":"bob","amount":"12.5"}}' '{urls[0]}/transfer?wait=final'""",
        f"curl -s {urls[-1]}/balance/bob",
        f"curl -s {urls[len(urls) // 2]}/status",
    ]


def _balance(node: Place, address: str) -> str:
    try:
        return str(fetch(node.url, f"/balance/{address}")["balance"])
    except (NodeSilent, KeyError):  # the table is help, not a check: the network stands without
        return "?"
