"""One-line mistakes in the exchange's part of the ledger: money, turns, books that move along."""

from mutants import Mutant

TRADING = "chaind/ledger/trading.py"
EXECUTE = "chaind/ledger/execute.py"
BLOCK = "chaind/ledger/block.py"
JOURNAL = "chaind/ledger/journal.py"
RULES = ("tests/ledger/test_trading.py", "tests/ledger/test_trading_outcomes.py")
RUNS = (*RULES, "tests/ledger/test_trading_machine.py")
NODES = ("tests/node/test_orders_on_nodes.py",)


def _mistake(
    name: str, file: str, old: str, new: str, killers: tuple[str, ...], *, safety: bool = True
) -> Mutant:
    return Mutant(f"trading: {name}", file, old, new, killers, safety)


MUTANTS_OF_TRADING = (
    _mistake(
        "an order needs no funds",
        EXECUTE,
        "if decode_units(state.get(key)) - taken < needed.units:",
        "if decode_units(state.get(key)) < taken:",
        RULES,
    ),
    _mistake(
        "the fee is spent once more",
        EXECUTE,
        "taken = sum(debit for row, debit, _, _, _ in checked.moves if row == key)",
        "taken = 0",
        RULES,
    ),
    _mistake(
        "the seller's fee is not booked",
        "chaind/market/events.py",
        "yield Move(None, market.quote, seller_fee, 0)",
        "yield Move(None, market.quote, 0, 0)",
        RULES,
    ),
    _mistake(
        "a balance has only the last of several moves",
        TRADING,
        "sums[key] = sums.get(key, 0) + available",
        "sums[key] = available",
        RULES,
    ),
    _mistake(
        "the native asset has two names",
        "chaind/ledger/keys.py",
        "return NATIVE if symbol == native_symbol else symbol",
        "return symbol",
        RULES,
    ),
    _mistake(
        "anybody may act for anybody",
        "chaind/ledger/actions.py",
        "        case _:\n            return action.owner\n",
        "        case _:\n            return None\n",
        RULES,
    ),
    _mistake(
        "anybody may open a market",
        TRADING,
        "if action.issuer not in issuers:",
        "if not issuers:",
        RULES,
    ),
    _mistake(
        "turns are not checked",
        TRADING,
        "if transaction.txid != txid:",
        "if transaction.txid == b'':",
        RULES,
    ),
    _mistake(
        "turns of mined blocks are not checked",
        "chaind/ledger/work_block.py",
        "    check_turns(block)\n",
        "",
        ("tests/ledger/test_work_block.py",),
    ),
    _mistake(
        "cancels have no precedence",
        "chaind/market/turns.py",
        "keyed = [(turn_of(action), ",
        "keyed = [(0, ",
        ("tests/market/test_exchange_rules.py",),
    ),
    _mistake(
        "books are not undone",
        JOURNAL,
        "        self.books.journal.undo()\n",
        "",
        RUNS,
    ),
    _mistake(
        "books of an abandoned block stay",
        JOURNAL,
        "        self.books.journal.abandon()\n",
        "        self.books.journal.seal()\n",
        RUNS,
    ),
    _mistake(
        "books keep what is settled",
        JOURNAL,
        "        self.books.journal.settle(delta.books)\n",
        "",
        RUNS,
        safety=False,
    ),
    _mistake(
        "no order is in the root",
        JOURNAL,
        "for key, value in books.writes:\n",
        "for key, value in (row for row in books.writes if row[0][:1] != b'o'):\n",
        RUNS,
    ),
    _mistake(
        "what is met costs nothing",
        BLOCK,
        "            self.cost += cost_of(own, receipt.events)\n",
        "",
        RULES,
    ),
    _mistake(
        "an order needs no room for what it may meet",
        BLOCK,
        "        return checked.room\n",
        "        return checked.cost\n",
        RULES,
    ),
    _mistake(
        "a cancel-all needs no room for what it ends",
        BLOCK,
        "return checked.cost + COST_MEETING * self._state.books.count_open(order.owner)",
        "return checked.cost",
        RULES,
    ),
    _mistake(
        "a cancel-all needs the room of as many orders as there may be",
        BLOCK,
        "return checked.cost + COST_MEETING * self._state.books.count_open(order.owner)",
        "return checked.room",
        RULES,
        safety=False,
    ),
    _mistake(
        "what expires is not given back",
        BLOCK,
        "        self._tell(state.books.open_block(context.height, context.chain_time_ms))\n",
        "        state.books.open_block(context.height, context.chain_time_ms)\n",
        RULES,
    ),
    _mistake(
        "an account has as many open orders as it likes",
        "chaind/market/exchange.py",
        "if count >= limit and terms.rests:",
        "if count > limit and terms.rests:",
        RULES,
    ),
    _mistake(
        "a reserve is no pending debit",
        "chaind/mempool/entries.py",
        "if receipt.held is not None:",
        "if receipt.held is not None and not receipt.checked.order:",
        NODES,
    ),
    _mistake(
        "a node starts with empty books",
        "chaind/node/replay.py",
        "return State(store, books=books)",
        "return State(store, books=Exchange(books.limits))",
        NODES,
    ),
    _mistake(
        "orders leave nothing to payments",
        "chaind/mempool/selection.py",
        "SHARES = 4",
        "SHARES = 2",
        NODES,
        safety=False,
    ),
)
