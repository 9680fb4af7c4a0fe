"""Which money of a wallet pays: account balances and coins, and what comes back as change.

Pure. Law: Σ taken = needed + change, to the unit; nothing is taken that is not there, and no coin
is spent in part. Account balances come first, since they can be taken in part and need no change.
Of coins the fewest are spent; where one set fits so exactly that its change would cost more to
spend later than it is worth, that one, and the rest goes to the fee.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chaind.primitives.amounts import format_amount
from chaind.primitives.errors import RuleBroken
from chaind.primitives.transaction import NATIVE

EXACT_TRIES_MAX = 20_000  # steps of the search for an exact set: some 10 ms


class WalletFundsLacking(RuleBroken):
    code = "wallet-funds-lacking"
    text = "the account holds {available} of {asset} that can be spent, {needed} are needed{fee}"
    advice = "Send less, or wait until what is on its way to you is final."


class Balance(NamedTuple):
    """What an address has in its account of an asset, in base units."""

    address: bytes
    asset: str
    units: int


class Spendable(NamedTuple):
    """A coin that the wallet may spend. `units` are native."""

    txid: bytes
    output: int
    address: bytes
    units: int


class Funds(NamedTuple):
    """What there is to pay with."""

    balances: tuple[Balance, ...]
    coins: tuple[Spendable, ...]

    def without_native_balances(self) -> "Funds":
        """Only coins, and balances of other assets, which have no coins."""
        return self._replace(balances=tuple(own for own in self.balances if own.asset != NATIVE))


class Selection(NamedTuple):
    """What pays: parts of balances, whole coins, and native units that come back as a coin."""

    balances: tuple[Balance, ...]
    coins: tuple[Spendable, ...]
    change_units: int
    fee_units: int


def select(
    funds: Funds,
    *,
    needs: Mapping[str, int],
    fee_units: int,
    dust_units: int,
    first: bytes,
    native_symbol: str,
) -> Selection:
    """Pay `needs`, units by asset, and a fee; change of at most `dust_units` is added to the fee.

    The balance of `first` is taken before others. Raises `WalletFundsLacking`.
    """

    def lacking(symbol: str, available: int, needed: int, fee_units: int) -> WalletFundsLacking:
        return WalletFundsLacking(
            asset=symbol,
            available=format_amount(available),
            needed=format_amount(needed),
            fee=f", {format_amount(fee_units)} of them for the fee" if fee_units else "",
        )

    native = needs.get(NATIVE, 0) + fee_units
    taken: list[Balance] = []
    for asset, units in needs.items():
        if asset == NATIVE:
            continue
        held = _order(funds.balances, asset, first)
        if (total := sum(balance.units for balance in held)) < units:
            raise lacking(asset, total, units, 0)
        taken += _take(held, units)
    own = _order(funds.balances, NATIVE, first)
    in_accounts = sum(balance.units for balance in own)
    if in_accounts >= native:
        taken += _take(own, native)
        return Selection(tuple(taken), (), 0, fee_units)
    available = in_accounts + sum(coin.units for coin in funds.coins)
    if available < native:
        raise lacking(native_symbol, available, native, fee_units)
    wanted = native - in_accounts
    coins = _choose(funds.coins, wanted, 0 if own else dust_units)
    excess = sum(coin.units for coin in coins) - wanted
    # What the coins give too much is left in the accounts, as far as these would have paid.
    from_accounts = max(0, in_accounts - excess)
    change = excess - (in_accounts - from_accounts)
    taken += _take(own, from_accounts)
    if change <= dust_units:
        return Selection(tuple(taken), coins, 0, fee_units + change)
    return Selection(tuple(taken), coins, change, fee_units)


def _order(balances: Sequence[Balance], asset: str, first: bytes) -> list[Balance]:
    """Few inputs: large balances first, but before all that of whose signature is there anyway."""
    own = [balance for balance in balances if balance.asset == asset and balance.units > 0]
    return sorted(own, key=lambda entry: (entry.address != first, -entry.units, entry.address))


def _take(own: Sequence[Balance], units: int) -> list[Balance]:
    """So much of balances that hold enough, in order, the last one in part."""
    taken, left = [], units
    for balance in own:
        if not left:
            break
        part = min(left, balance.units)
        taken.append(balance._replace(units=part))
        left -= part
    assert not left, "the caller has added them up"
    return taken


def _choose(coins: Sequence[Spendable], wanted: int, slack_units: int) -> tuple[Spendable, ...]:
    """Coins worth `wanted` or more: an exact set, else the smallest that is enough alone, else
    the largest ones."""
    ordered = sorted(coins, key=lambda coin: (-coin.units, coin.txid, coin.output))
    exact = _search_exact(ordered, wanted, slack_units)
    if exact is not None:
        return exact
    enough = [coin for coin in ordered if coin.units >= wanted]
    if enough:
        return (enough[-1],)
    chosen, total = [], 0
    for coin in ordered:
        chosen.append(coin)
        total += coin.units
        if total >= wanted:
            break
    return tuple(chosen)


def _search_exact(
    ordered: Sequence[Spendable], wanted: int, slack_units: int
) -> tuple[Spendable, ...] | None:
    """Depth first, with or without each coin, largest first, for a sum within the slack.

    Branch and bound as in Erhardt, "An Evaluation of Coin Selection Strategies" (2016): a branch
    ends where its sum is too large, or what is left cannot reach `wanted` any more.
    """
    rest = [0] * (len(ordered) + 1)  # sum of the coins from each position on
    for position in range(len(ordered) - 1, -1, -1):
        rest[position] = rest[position + 1] + ordered[position].units
    stack: list[tuple[int, int, tuple[int, ...]]] = [(0, 0, ())]
    for _ in range(EXACT_TRIES_MAX):
        if not stack:
            return None
        position, total, chosen = stack.pop()
        if wanted <= total <= wanted + slack_units:
            return tuple(ordered[place] for place in chosen)
        if total > wanted or total + rest[position] < wanted:
            continue
        stack.append((position + 1, total, chosen))
        stack.append((position + 1, total + ordered[position].units, (*chosen, position)))
    return None
