"""The audit of a running node through its API, without trusting it.

Law: of what the node says only raw blocks and certificates go into the replay, where hashes and
signatures hold them to the genesis. What else it says, of holdings and supplies, is then compared
with the replayed state. The chain may grow meanwhile: an answer is compared at the height of the
address's last activity.
"""

import tempfile
from pathlib import Path
from random import SystemRandom
from typing import NamedTuple

import msgspec

from chaind.cli.audit import ProgressBar
from chaind.cli.status import fetch, fetch_bytes
from chaind.ledger.keys import BALANCE, Coin, balances_prefix, decode_units
from chaind.node.audit import Auditor, Report, count_state
from chaind.node.audit_home import scratch_store, threads
from chaind.primitives.amounts import format_amount
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import display_hash
from chaind.primitives.votes import Certificate, certificate_decoder
from chaind.storage.files import OsFiles
from chaind.storage.log import AppendLog
from chaind.storage.segment import Position

WAIT_S = 30.0  # a page of full blocks from a busy node on the other side of the world
PAGE_BYTES_MAX = 64 << 20
GENESIS_BYTES_MAX = 16 << 20
COINS_MAX = 10_000  # what a node adds up for one balance
TRIES_MAX = 20  # for an address that is paid more often than it can be asked for
NOWHERE = Position(0, 0)  # the audited bodies are the node's, not ours


class OtherGenesis(LocalFault):
    """The node follows another chain than the one that was asked for."""

    code = "other-genesis"
    text = "{url} follows chain {found}, not {wanted}"
    advice = "Ask a node of that chain, or leave --genesis out to audit whatever it follows."
    exit_code = 1


class RangeBroken(LocalFault):
    """The node claims blocks that it does not give."""

    code = "range-broken"
    text = "{url} gives no block {height}, though it claims height {claimed}"
    advice = "The node may be fetching a damaged block again: try later, or audit its files."
    exit_code = 1


class _Page(msgspec.Struct, array_like=True, frozen=True):
    start: int
    raws: list[bytes]
    certificate: msgspec.Raw


def audit_url(url: str, genesis_file: Path | None, samples: int, bar: ProgressBar) -> Report:
    """Audit a running node. Raises `NodeSilent`, `OtherGenesis`, `RangeBroken`."""
    document = fetch_bytes(url, "/api/v1/genesis", wait_s=WAIT_S, bytes_max=GENESIS_BYTES_MAX)
    genesis = Genesis.from_json(document, path=url)
    if genesis_file is not None:
        wanted = Genesis.load(genesis_file)
        if wanted.hash != genesis.hash:
            raise OtherGenesis(
                url=url, found=display_hash(genesis.hash), wanted=display_hash(wanted.hash)
            )
    with scratch_store() as scratch, tempfile.TemporaryDirectory() as directory:
        bodies = AppendLog.open(OsFiles(), Path(directory), "none", 1 << 20, 1 << 20)
        with Auditor(genesis, scratch, bodies, threads()) as auditor:
            remote = _Remote(url, auditor, bar)
            if remote.follow():
                _compare_supply(remote)
                _compare_samples(remote, samples)
            return auditor.finish(count_state(auditor, scratch))


class _Remote:
    """The node, and how far its chain has been replayed."""

    def __init__(self, url: str, auditor: Auditor, bar: ProgressBar) -> None:
        self.url = url
        self.auditor = auditor
        self.whole = True
        self._bar = bar

    def follow(self) -> bool:
        """Replay up to where the node stands now; False where the chain breaks."""
        claimed = fetch(self.url, "/api/v1/status")["height"]
        if not isinstance(claimed, int):
            claimed = 0
        auditor = self.auditor
        while self.whole and auditor.height < claimed:
            page = self._page(auditor.height + 1)
            if not page.raws:
                raise RangeBroken(url=self.url, height=auditor.height + 1, claimed=claimed)
            certificate = _certificate(page)
            for raw in page.raws:
                last = raw is page.raws[-1]
                self.whole = self.whole and auditor.add(raw, NOWHERE, certificate if last else None)
            self._bar.show(auditor.height, claimed)
        return self.whole

    def _page(self, start: int) -> _Page:
        path = f"/api/v1/blocks/raw?start={start}"
        body = fetch_bytes(self.url, path, wait_s=WAIT_S, bytes_max=PAGE_BYTES_MAX)
        return msgspec.msgpack.decode(body, type=_Page)


def _certificate(page: _Page) -> Certificate | None:
    encoded = bytes(page.certificate)
    return None if encoded == b"\xc0" else certificate_decoder.decode(encoded)


class _Said(NamedTuple):
    """Holdings as the node tells them."""

    accounts: dict[str, str]
    coins: str
    utxo_count: int


def _compare_supply(remote: _Remote) -> None:
    """Supplies change with blocks: what the node says must be true of one it had by then."""
    auditor = remote.auditor
    for _ in range(TRIES_MAX):
        before = auditor.height
        answer = fetch(remote.url, "/api/v1/assets")["assets"]
        remote.follow()
        said = {entry["symbol"]: entry["supply"] for entry in answer}  # type: ignore[attr-defined]
        ours = _supplies(auditor)
        if said == ours:
            auditor.report.samples += len(said)
            return
        if auditor.height == before:
            break
    auditor.violation("replay", auditor.height, f"the node says supplies {said}, not {ours}")


def _compare_samples(remote: _Remote, count: int) -> None:
    """Holdings of addresses that the node cannot foresee."""
    auditor = remote.auditor
    proposers = {validator.address for validator in auditor.genesis.validators}
    dice = SystemRandom()
    chosen: list[bytes] = []
    seen = 0
    for key, _ in auditor.store.state_rows(BALANCE):
        address = key[2 : 2 + key[1]]
        if address in proposers or (chosen and chosen[-1] == address):
            continue  # rewards leave no activity by which to know the height of an answer
        if auditor.store.last_reward(address) is not None:  # a miner's
            continue
        seen += 1
        if len(chosen) < count:
            chosen.append(address)
        elif (place := dice.randrange(seen)) < count:
            chosen[place] = address
    for address in dict.fromkeys(chosen):
        _compare_holdings(remote, address)


def _compare_holdings(remote: _Remote, address: bytes) -> None:
    auditor = remote.auditor
    shown = auditor.genesis.addresses.show(address)
    for _ in range(TRIES_MAX):
        answer = fetch(remote.url, f"/api/v1/accounts/{shown}?at=final")
        told = answer.get("last_activity_block") or 0
        if not isinstance(told, int):
            told = 0
        if told > auditor.height and not remote.follow():
            return
        if (auditor.store.last_active(address) or 0) == told:
            break
        if not remote.follow():
            return
    else:
        return  # paid all the time: it says nothing about a height that we could replay
    said = (answer.get("accounts"), answer.get("coins"), answer.get("utxo_count"))
    ours = _holdings(auditor, address)
    auditor.report.samples += 1
    if said != ours:
        what = f"the node says that {shown} holds {said}, the replay {tuple(ours)}"
        auditor.violation("replay", told, what)


def _holdings(auditor: Auditor, address: bytes) -> _Said:
    prefix = balances_prefix(address)
    symbol = auditor.genesis.native_symbol
    accounts = {
        key[len(prefix) :].decode("ascii") or symbol: format_amount(decode_units(value))
        for key, value in auditor.store.state_rows(prefix)
    }
    coins = [Coin.decode(value) for _, _, value in auditor.store.coins(address, COINS_MAX)]
    return _Said(accounts, format_amount(sum(coin.amount for coin in coins)), len(coins))


def _supplies(auditor: Auditor) -> dict[str, str]:
    symbol = auditor.genesis.native_symbol
    found = {asset or symbol: units for asset, units in auditor.supply.items()}
    return {asset: format_amount(units) for asset, units in found.items()}
