"""One-line mistakes in the block tree, in the plan of a sync, and in nodes of mined chains."""

from mutants import Mutant

TREE = "chaind/consensus/pow/tree.py"
ORPHANS = "chaind/consensus/pow/orphans.py"
SYNC = "chaind/consensus/pow/sync.py"
WEIGHING = "chaind/consensus/pow/weighing.py"
WINDOW = "chaind/consensus/pow/body_window.py"
ENGINE = "chaind/node/work_engine.py"
BRANCHES = "chaind/node/branches.py"
RULES = "chaind/node/rules.py"
BLOCK = "chaind/ledger/work_block.py"
AUDIT = "chaind/node/audit.py"
TALLY = "chaind/node/tally.py"
OF_TREES = ("tests/consensus/test_block_tree.py",)
OF_SYNC = ("tests/consensus/test_header_sync.py",)
OF_BLOCKS = ("tests/ledger/test_work_block.py",)
OF_NODES = ("tests/node/test_work_engine.py", "tests/node/test_work_reorgs.py")
OF_CLUSTERS = ("tests/node/test_work_nodes.py",)
OF_HEADS = ("tests/node/test_head_state.py",)
OF_DEPTHS = ("tests/node/test_deep_reorgs.py",)
OF_POOLS = ("tests/mempool/test_pool.py",)
POOL = "chaind/mempool/pool.py"
RETURNS = "chaind/node/returns.py"


def _mistake(name: str, file: str, old: str, new: str, killers: tuple[str, ...]) -> Mutant:
    return Mutant(name, file, old, new, killers, safety=file not in (WINDOW, ORPHANS))


MUTANTS_OF_TREE = (
    _mistake(
        "the last of equal branches is best",
        TREE,
        "if entry.chainwork > self._best.chainwork:",
        "if entry.chainwork >= self._best.chainwork:",
        OF_TREES,
    ),
    _mistake(
        "an invalid block's descendants are ready",
        TREE,
        "if not at.held or at.invalid or at.parent.complete is None:",
        "if not at.held or at.parent.complete is None:",
        OF_TREES,
    ),
    _mistake(
        "a window begins with the one before",
        TREE,
        "entry.window_time = decoded.time if opens else parent.window_time",
        "entry.window_time = parent.window_time",
        OF_TREES,
    ),
    _mistake(
        "an invalid block stays the tip", TREE, "if self._ready.invalid:", "if False:", OF_TREES
    ),
    _mistake(
        "branches below the final block wait as orphans",
        TREE,
        "        if fork is not None:\n",
        "        if False:\n",
        OF_TREES,
    ),
    _mistake(
        "the median forgets the times below the base",
        TREE,
        "return (*self._times_below[-missing:], *found) if missing else tuple(found)",
        "return tuple(found) or self._times_below",
        OF_TREES,
    ),
    _mistake(
        "a flood of orphans drives out those of others",
        ORPHANS,
        "self._drop_oldest(max(self._by_peer, key=self.of_peer))",
        "self._drop_oldest(orphan.peer)",
        OF_TREES,
    ),
    _mistake(
        "synced while peers owe headers",
        SYNC,
        "peer.done or peer.passed_ms is not None or (self._seasoned and peer.reached is None)",
        "True",
        OF_SYNC,
    ),
    _mistake(
        "synced on a light chain", SYNC, "return self.heavy_enough and all(", "return all(", OF_SYNC
    ),
    _mistake(
        "a peer that has grown is done",
        SYNC,
        "state.done, state.reached = False, last.height",
        "state.reached = last.height",
        OF_SYNC,
    ),
    _mistake(
        "other headers than were weighed are kept",
        WEIGHING,
        "if sha256(records[: before.number * HEADER_BYTES]) != before.digest:",
        "if False:",
        OF_SYNC,
    ),
    _mistake(
        "rivals of equal work are not fetched",
        WINDOW,
        "if best.chainwork < self._tree.ready.chainwork:",
        "if best.chainwork <= self._tree.ready.chainwork:",
        OF_NODES,
    ),
    _mistake(
        "bodies of a peer that left are asked of nobody",
        WINDOW,
        "self._peers.pop(peer).asked:",
        "self._peers.pop(peer).lacking:",
        OF_SYNC,
    ),
    _mistake(
        "no window",
        WINDOW,
        "limit = missing[0].height + self._size",
        "limit = missing[0].height + 9_999",
        OF_SYNC,
    ),
    _mistake(
        "asked again of who lacks it",
        WINDOW,
        "entry.hash in self._asked or entry.hash in peer.lacking",
        "entry.hash in self._asked",
        OF_SYNC,
    ),
    _mistake(
        "what a lost branch held is lost",
        BRANCHES,
        "                    self._restore(checked)\n",
        "                    pass\n",
        OF_NODES,
    ),
    _mistake(
        "what both branches hold waits twice",
        BRANCHES,
        "if checked.txid not in included:",
        "if True:",
        OF_DEPTHS,
    ),
    _mistake(
        "what was handed to finality is undone",
        BRANCHES,
        "if path.undo and path.undo[-1].height <= self.promised:",
        "if False:",
        OF_NODES,
    ),
    _mistake(
        "a head of less work on the way",
        BRANCHES,
        "if executed >= EXECUTE_AT_ONCE and here.chainwork > head.chainwork:",
        "if executed >= EXECUTE_AT_ONCE:",
        OF_NODES,
    ),
    _mistake(
        "made-up bytes make a block invalid",
        ENGINE,
        "if is_sealed(raw, block_hash) and",
        "if",
        OF_NODES,
    ),
    _mistake(
        "malformed blocks stay the best",
        ENGINE,
        "if is_sealed(raw, block_hash) and self.tree.get(block_hash) is not None:",
        "if False:",
        OF_NODES,
    ),
    _mistake(
        "light headers are given",
        ENGINE,
        "                if self.planner.heavy_enough:\n",
        "                if True:\n",
        OF_NODES,
    ),
    _mistake(
        "final before it is synced",
        ENGINE,
        "if self.planner.synced:",
        "if True:",
        OF_NODES,
    ),
    _mistake(
        "stored blocks from the future are refused",
        ENGINE,
        "                self.tree.hear(block.header_bytes, now=block.header.time)\n",
        "                self.tree.hear(block.header_bytes, now=0)\n",
        OF_NODES,
    ),
    _mistake(
        "rivals of final blocks are kept",
        RULES,
        "        return (height,)\n",
        "        return ()\n",
        OF_NODES,
    ),
    _mistake("any commitment", BLOCK, "if commitment != due:", "if False:", OF_BLOCKS),
    _mistake(
        "audits believe headers",
        AUDIT,
        "            self._work(self._headers, height, block)\n",
        "            pass\n",
        OF_NODES,
    ),
    _mistake(
        "fees are counted twice",
        TALLY,
        "            self._issue(NATIVE, -fee)\n",
        "            pass\n",
        OF_CLUSTERS,
    ),
    _mistake(
        "clients spend what is final alone",
        "chaind/node/chain.py",
        "self.tip_state: View = state if self.at_head else FinalState(state)",
        "self.tip_state: View = FinalState(state)",
        OF_HEADS,
    ),
    _mistake(
        "what the head executed is still pending",
        POOL,
        "            if self._at_head:\n                self._uncount_debits(entry)\n",
        "",
        OF_POOLS,
    ),
    _mistake(
        "what is undone is not pending again",
        POOL,
        "                    self._count_debits(entry)\n",
        "                    pass\n",
        OF_POOLS,
    ),
    _mistake(
        "what was executed is woken",
        POOL,
        "            if entry.hidden:\n                self._unpark(entry)\n",
        "            if entry.hidden:\n                pass\n",
        OF_POOLS,
    ),
    _mistake(
        "what the head pays for stays aside",
        "chaind/node/chain.py",
        "            self.pool.wake(key for key, _ in candidate.executed.delta.writes)\n",
        "            pass\n",
        OF_HEADS,
    ),
    _mistake(
        "what was lost is not followed",
        RETURNS,
        "            self._tracker.accept((checked,))\n",
        "            pass\n",
        OF_HEADS,
    ),
    _mistake(
        "what cannot come back at once never does",
        RETURNS,
        "        self._waiting[checked.txid] = checked\n",
        "        pass\n",
        OF_HEADS,
    ),
    _mistake(
        "coins of the head that were spent are held",
        "chaind/node/holdings.py",
        "rows.pop(outpoint, None)",
        "rows.get(outpoint)",
        OF_HEADS,
    ),
    _mistake(
        "what is too early is put aside",
        "chaind/mempool/selection.py",
        "            if isinstance(error, EARLY):",
        "            if False:",
        OF_HEADS,
    ),
    _mistake(
        "undone blocks are told from the lowest",
        BRANCHES,
        "[candidate.body for candidate in reversed(before[shared:])],",
        "[candidate.body for candidate in before[shared:]],",
        OF_DEPTHS,
    ),
    _mistake(
        "finalising keeps what stands beside",
        TREE,
        "                if child is not at:\n",
        "                if False:\n",
        OF_TREES,
    ),
    _mistake(
        "what validators signed is rolled back",
        "chaind/node/rollback.py",
        "        if to < final:\n",
        "        if to < 0:\n",
        ("tests/node/test_rollback.py",),
    ),
    _mistake(
        "what was rolled back is not pending",
        "chaind/node/rollback.py",
        "            new.journal.append(raw)\n            if",
        "            if",
        ("tests/node/test_rollback.py",),
    ),
    _mistake(
        "what was not asked for completes a short block",
        "chaind/node/compact.py",
        "        if not wanted.issuperset(transaction.wtxid for transaction in fetched):\n",
        "        if False:\n",
        ("tests/node/test_compact_blocks.py",),
    ),
    _mistake(
        "a gap in stored headers is passed over",
        "chaind/consensus/pow/summing.py",
        "            if header[4:36] != last:\n",
        "            if False:\n",
        ("tests/node/test_header_loading.py",),
    ),
)
