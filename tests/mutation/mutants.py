"""One-line mistakes in the code on which money and agreement rest, and who must notice them.

`old` stands exactly once in `file`. `killers` are what pytest is given, the likeliest first: the
mutant is caught by the first of them that fails on it and passes without it.
"""

from typing import NamedTuple

CORE = (
    "tests/consensus/test_simplex_rules.py",
    "tests/consensus/test_quorums.py",
    "tests/consensus/test_simplex_exploration.py",
    "tests/consensus/test_simplex_schedules.py",
)
LOG = ("tests/consensus/test_simplex_log.py", "tests/consensus/test_simplex_schedules.py")
GOSSIP = ("tests/consensus/test_gossip.py", "tests/consensus/test_gossip_schedules.py")
LEDGER = ("tests/ledger",)
REFUNDS = ("tests/api/test_refunds.py", "tests/node/test_refunds_across_nodes.py")
WHOLE = ("tests/simulation/test_simulation.py",)


class Mutant(NamedTuple):
    """One mistake. `safety`: money or agreement is lost by it; otherwise only liveness or speed."""

    name: str
    file: str
    old: str
    new: str
    killers: tuple[str, ...]
    safety: bool = True


MUTANTS = (
    # Quorum arithmetic.
    Mutant(
        "T − 1",
        "chaind/consensus/quorums.py",
        "self.threshold = f + p + 1",
        "self.threshold = f + p",
        CORE,
    ),
    Mutant(
        "T + 1",
        "chaind/consensus/quorums.py",
        "self.threshold = f + p + 1",
        "self.threshold = f + p + 2",
        CORE,
        safety=False,
    ),
    Mutant(
        "Q − 1",
        "chaind/consensus/quorums.py",
        "self.quorum = (n + f) // 2 + 1",
        "self.quorum = (n + f) // 2",
        CORE,
    ),
    Mutant(
        "F − 1",
        "chaind/consensus/quorums.py",
        "self.fast = n - p",
        "self.fast = n - p - 1",
        CORE,
    ),
    Mutant(
        "a certificate's weight is not checked",
        "chaind/consensus/quorums.py",
        "if weight < needed or",
        "if weight < 0 or",
        ("tests/consensus/test_quorums.py",),
    ),
    Mutant(
        "a signer twice in a certificate counts twice",
        "chaind/primitives/votes.py",
        "    if set(first) & set(second):",
        "    if False:",
        ("tests/primitives/test_vote_forms.py",),
    ),
    Mutant(
        "a voter's support counts twice",
        "chaind/consensus/tally.py",
        """            case VoteKind.FALLBACK:
                if not self._supports(voter, block):
                    self.support[block] += weight""",
        """            case VoteKind.FALLBACK:
                self.support[block] += weight""",
        (*CORE, *LOG),
    ),
    # Rules of the protocol.
    Mutant(
        "FINALIZE after FALLBACK, for that block",
        "chaind/consensus/rules.py",
        """    if me in tally.nullifies or me in tally.fallbacks:
        return None
    for block in view.notars:
        if (first is None or first.block == block) and valid(block):""",
        """    if me in tally.nullifies:
        return None
    for block in view.notars:
        fell_back = any(vote.block == block for vote in tally.fallbacks.get(me, ()))
        if (first is None or first.block == block or fell_back) and valid(block):""",
        CORE,
    ),
    Mutant(
        "FINALIZE after FALLBACK",
        "chaind/consensus/rules.py",
        "if me in tally.nullifies or me in tally.fallbacks:",
        "if me in tally.nullifies:",
        CORE,
    ),
    Mutant(
        "FINALIZE after NULLIFY",
        "chaind/consensus/rules.py",
        "if me in tally.nullifies or me in tally.fallbacks:",
        "if me in tally.fallbacks:",
        CORE,
    ),
    Mutant(
        "FINALIZE for another block than FIRST",
        "chaind/consensus/rules.py",
        "if (first is None or first.block == block) and valid(block):",
        "if valid(block):",
        CORE,
    ),
    Mutant(
        "FINALIZE without a checked body",
        "chaind/consensus/rules.py",
        "if (first is None or first.block == block) and valid(block):",
        "if first is None or first.block == block:",
        CORE,
    ),
    Mutant(
        "votes after FINALIZE",
        "chaind/consensus/simplex.py",
        """        if me in view.tally.finalizes:
            return False  # rule 6""",
        """        if False:
            return False  # rule 6""",
        CORE,
    ),
    Mutant(
        "FIRST without a justified parent",
        "chaind/consensus/rules.py",
        "if found is None or not justified(block):",
        "if found is None:",
        CORE,
    ),
    Mutant(
        "FALLBACK for a block that is not valid",
        "chaind/consensus/rules.py",
        "if weight < threshold or block is None or block == own or not valid(block):",
        "if weight < threshold or block is None or block == own:",
        CORE,
    ),
    Mutant(
        "evidence: two FIRSTs do not convict",
        "chaind/consensus/evidence.py",
        "return one.kind in (VoteKind.FIRST, VoteKind.FINALIZE) and one.block != other.block",
        "return one.kind is VoteKind.FINALIZE and one.block != other.block",
        ("tests/consensus",),
    ),
    # Persist, then speak.
    Mutant(
        "a vote is sent before its record is durable",
        "chaind/consensus/outbox.py",
        "done.append(Send(None, Votes(tuple(self._votes)), after))",
        "done.append(Send(None, Votes(tuple(self._votes)), None))",
        LOG,
    ),
    Mutant(
        "a proposal is sent before its record is durable",
        "chaind/consensus/outbox.py",
        "done.extend(Send(to, what, after if own else None) for to, what, own in self._sends)",
        "done.extend(Send(to, what, None) for to, what, own in self._sends)",
        LOG,
    ),
    Mutant(
        "certificates are not logged",
        "chaind/consensus/outbox.py",
        "        self._records.append(record)\n",
        "        if isinstance(record, Vote):\n            self._records.append(record)\n",
        LOG,
    ),
    Mutant(
        "a decision is delivered before its certificate is durable",
        "chaind/consensus/facts.py",
        "if seq <= self.out.durable and self.valid(block):",
        "if self.valid(block):",
        LOG,
    ),
    Mutant(
        "the body is not kept with the vote",
        "chaind/consensus/outbox.py",
        "if body is not None and body not in self._bodies:",
        "if body is None and body not in self._bodies:",
        (*LOG, *WHOLE),
    ),
    Mutant(
        "the shell sends without waiting",
        "chaind/node/engine.py",
        "if effect.after is None or effect.after <= self._durable_seq:",
        "if effect.after is None or effect.after >= 0:",
        ("tests/node/test_cluster_faults.py", *WHOLE),
    ),
    Mutant(
        "fsync skipped",
        "chaind/storage/log.py",
        "                self._file.sync()\n                self._unsynced = False",
        "                self._unsynced = False",
        ("tests/storage/test_log.py", "tests/storage/test_log_recovery.py"),
    ),
    Mutant(
        "an acceptance is answered before the journal's sync",
        "chaind/node/intake.py",
        "        self._tracker.accept((*accepted, *brought))\n        await self._commit.durable()",
        "        self._tracker.accept((*accepted, *brought))",
        ("tests/node/test_intake.py", *WHOLE),
    ),
    # Signatures.
    Mutant(
        "the memory of verified signatures goes by txid",
        "chaind/node/intake.py",
        "() if checked.transaction.wtxid in known else signature_checks(checked)",
        "() if checked.transaction.txid in known else signature_checks(checked)",
        ("tests/node/test_intake.py",),
        safety=False,
    ),
    Mutant(
        "any signature verifies",
        "chaind/ledger/checks.py",
        "    if not verdict:\n",
        "    if False:\n",
        ("tests/ledger/test_check_transaction.py",),
    ),
    Mutant(
        "high S is accepted",
        "chaind/ledger/policies.py",
        "    if not is_low_s(signature):",
        "    if False:",
        LEDGER,
    ),
    Mutant(
        "the lease's owner need not sign",
        "chaind/ledger/checks.py",
        "        found[body.lease.owner] = None",
        "        pass",
        LEDGER,
    ),
    # The ledger.
    Mutant(
        "a lease is not looked up",
        "chaind/ledger/execute.py",
        "    if held is not None:\n",
        "    if False:\n",
        LEDGER,
    ),
    Mutant(
        "an applied transaction applies again",
        "chaind/ledger/execute.py",
        "    if state.get(checked.applied_row) is not None:",
        "    if False:",
        LEDGER,
    ),
    Mutant(
        "a coin is spent and stays",
        "chaind/ledger/execute.py",
        "put(coin_key(entry.txid, entry.index), None)",
        "pass",
        LEDGER,
    ),
    Mutant(
        "funds are not checked",
        "chaind/ledger/execute.py",
        "if debit and decode_units(get(key)) < debit:",
        "if debit and decode_units(get(key)) < 0:",
        LEDGER,
    ),
    Mutant(
        "an immature coinbase is spent",
        "chaind/ledger/execute.py",
        "if coin.coinbase and context.height < matures:",
        "if False:",
        LEDGER,
    ),
    Mutant(
        "expired one block too late",
        "chaind/ledger/execute.py",
        "if valid_until <= now_ms:",
        "if valid_until < now_ms:",
        LEDGER,
    ),
    Mutant(
        "native outputs may exceed inputs",
        "chaind/ledger/checks.py",
        "    elif native_in < native_out:",
        "    elif False:",
        LEDGER,
    ),
    Mutant(
        "undo forgets a key that was absent before",
        "chaind/ledger/journal.py",
        "{key: undo[key] for key, _ in writes}, books",
        "{key: undo[key] for key, _ in writes if undo[key] is not None}, books",
        LEDGER,
    ),
    Mutant(
        "no-op writes enter the root",
        "chaind/ledger/journal.py",
        "for key in sorted(undo) if live[key] != undo[key]",
        "for key in sorted(undo)",
        LEDGER,
    ),
    Mutant(
        "a block's Merkle root is not checked",
        "chaind/primitives/block.py",
        "if root != block.header.merkle_root or merkle_is_mutated(leaves):",
        "if merkle_is_mutated(leaves):",
        ("tests/primitives/test_headers_and_blocks.py",),
    ),
    Mutant(
        "the parent's state root is not checked",
        "chaind/ledger/block.py",
        "    if commitment.parent_root != parent.root:",
        "    if False:",
        LEDGER,
    ),
    # What clients are told.
    Mutant(
        "rejected while it may still apply",
        "chaind/node/tracker.py",
        "        return all(is_final(maker) for maker in makers)",
        "        return True",
        ("tests/node/test_tracker.py", "tests/node/test_intake.py", "tests/node", *WHOLE),
    ),
    Mutant(
        "expired before its time",
        "chaind/node/tracker.py",
        "while self._deadlines and self._deadlines[0][0] <= chain_time_ms:",
        "while self._deadlines and self._deadlines[0][0] <= chain_time_ms + 1_000:",
        ("tests/node/test_tracker.py",),
    ),
    Mutant(
        "pending debits may exceed the balance",
        "chaind/mempool/pool.py",
        "if pending + debit > available:",
        "if debit > available:",
        ("tests/mempool",),
        safety=False,
    ),
    Mutant(
        "a replacement need not pay more",
        "chaind/mempool/pool.py",
        "if entry.fee <= rival.fee or entry.rate <= rival.rate:",
        "if entry.fee < rival.fee:",
        ("tests/mempool",),
        safety=False,
    ),
    Mutant(
        "outcomes lose their journal too early",
        "chaind/node/tracker.py",
        "        if self._unsynced:\n            return None\n",
        "",
        ("tests/node/test_tracker.py",),
    ),
    # The overlay.
    Mutant(
        "a voter in both bitmaps counts twice in gossip",
        "chaind/consensus/gossip.py",
        "parts = [self.held[0], self.held[1] & ~self.held[0]]",
        "parts = [self.held[0], self.held[1]]",
        GOSSIP,
    ),
    Mutant(
        "a bundle forgets a signature",
        "chaind/consensus/gossip.py",
        "[signatures[voter] for voter in bitmap_indices(voters)]",
        "[signatures[voter] for voter in bitmap_indices(voters)[1:]]",
        GOSSIP,
        safety=False,
    ),
    Mutant(
        "votes that are held are checked again",
        "chaind/consensus/gossip.py",
        "fresh = bits & ~proof.held[part]",
        "fresh = bits",
        GOSSIP,
        safety=False,
    ),
    Mutant(
        "a neighbour is told one vote too few for a certificate",
        "chaind/consensus/gossip.py",
        "while bits and lacking > 0:",
        "while bits and lacking > 1:",
        GOSSIP,
        safety=False,
    ),
    Mutant(
        "unsigned votes take memory",
        "chaind/consensus/gossip.py",
        "        if proof is None:\n            return list(bundle.votes())\n",
        "        if proof is None:\n"
        "            self.took(link, bundle.votes())\n"
        "            return list(bundle.votes())\n",
        GOSSIP,
    ),
    Mutant(
        "a bundle's votes are not checked",
        "chaind/node/engine.py",
        "            for vote in wanted:\n                self._checker.check_vote(vote)\n",
        "",
        ("tests/bad_input/test_bad_peers.py", "tests/node/test_spread.py"),
    ),
    # Refunds.
    Mutant(
        "what was given back is not counted",
        "chaind/node/refunds.py",
        "return max(0, self.paid.get(asset, 0) - self.given_units(asset))",
        "return self.paid.get(asset, 0)",
        REFUNDS,
    ),
    Mutant(
        "two refunds have one number",
        "chaind/node/refunds.py",
        "refund_lease_id(order.txid, state.number),",
        "self._entropy(32),",
        REFUNDS,
    ),
    Mutant(
        "a refund is not found by its key",
        "chaind/node/refunds.py",
        "if one.memo.key == key),",
        "if one.memo.key == b''),",
        REFUNDS,
    ),
    Mutant(
        "who was not paid gives back",
        "chaind/node/refunds.py",
        "if not paid or payee == row.payer:",
        "if payee == row.payer:",
        REFUNDS,
        safety=False,
    ),
    Mutant(
        "a memo alone makes a refund",
        "chaind/storage/indexes.py",
        "if lease.id == refund_lease_id(refund.txid, refund.number):",
        "if lease.id:",
        REFUNDS,
    ),
)
