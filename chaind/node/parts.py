"""What a node is made of, and who hears of what: ledger, network, consensus, and the doors.

Law: parts are made in the order in which they need each other, and nothing runs yet. What one part
tells another goes through the hooks of whoever runs them: see `node`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import structlog

from chaind.consensus.quorums import Quorums
from chaind.ledger.checks import Checked
from chaind.network.manager import Network
from chaind.network.noise import KEY_BYTES, KeyPair
from chaind.node.assembly import Voters, make_core, make_pool, network_config
from chaind.node.bodies import Bodies
from chaind.node.chain import Chain
from chaind.node.clock import Clock, Workers
from chaind.node.clock_watch import ClockWatch
from chaind.node.config import Config
from chaind.node.durable import GroupCommit
from chaind.node.engine import Engine
from chaind.node.events import Event, Events
from chaind.node.finality import Finality
from chaind.node.healer import Healer
from chaind.node.ingest import Ingest
from chaind.node.intake import Intake, Verifier
from chaind.node.market_data import MarketData
from chaind.node.movements import Feed
from chaind.node.queries import Queries
from chaind.node.recovery import Disk
from chaind.node.relay import Relay
from chaind.node.replay import open_state
from chaind.node.returns import Returns
from chaind.node.routing import Router
from chaind.node.rules import tip_info
from chaind.node.signatures import SignatureChecker, Verify
from chaind.node.spread import make_spread
from chaind.node.sync import Sync
from chaind.node.timers import Timers
from chaind.node.tracker import Tracker
from chaind.node.waiters import Waiters
from chaind.node.work_engine import WorkEngine
from chaind.primitives.genesis import Genesis
from chaind.primitives.keys import SecretKey

log = structlog.get_logger("chaind.node")


class Identity(NamedTuple):
    """Secrets of one node. `validator` is None for a full node.

    `may_vote` is False for a validator that has lost its vote log: it observes.
    """

    node: KeyPair
    validator: SecretKey | None
    may_vote: bool = True


class Parts(ABC):
    """The parts of one node on one chain; `Node` runs them, and says what the arguments are."""

    def __init__(
        self,
        *,
        config: Config,
        genesis: Genesis,
        identity: Identity,
        disk: Disk,
        clock: Clock,
        workers: Workers,
        rng: Random,
        entropy: Callable[[int], bytes],
        network: Callable[..., Network],
        verify: Verify,
    ) -> None:
        self.config = config
        self.genesis = genesis
        self.clock = clock
        self.started_ms = clock.monotonic_ms()
        self.clock_watch = ClockWatch(clock, genesis.parameters.max_drift_ms)
        self._disk = disk
        self.store = disk.store
        self._workers = workers
        self._entropy = entropy
        voters, secret = Voters(genesis), identity.validator
        self._voters, self._secret, self._rng, self._verify = voters, secret, rng, verify
        self.leader = voters.leader
        self.validator_index = voters.index_of(secret)
        self.observes = self.validator_index is not None and not identity.may_vote
        if self.observes:
            log.error(
                "vote_log_lost",
                advice="This validator only observes: votes of before could be contradicted.",
            )
            self.validator_index = None
        self.quorums = voters.quorums
        self._make_ledger()
        self._make_network(identity.node, network)
        self._make_consensus()
        self._make_doors()

    # What the parts tell.

    @abstractmethod
    def _on_accepted(self, batch: Sequence[Checked], source: str | None) -> None:
        """Transactions are in the pool, told by a peer (its id) or handed in here."""

    @abstractmethod
    def _on_final(self) -> None:
        """Blocks have become final."""

    @abstractmethod
    def _on_event(self, event: Event) -> None:
        """Something that others are told of as well."""

    # Making them.

    def _make_ledger(self) -> None:
        self.events = Events()
        self.timers = Timers()
        self.pool = make_pool(self.config, self.genesis)
        self.tracker = Tracker(self._disk.journal)
        tip = tip_info(self.genesis, self._disk.store.tip, self._disk.store)
        state = open_state(self._disk.store, self.genesis)
        self.chain = Chain(self.genesis, state, self.pool, tip, self._voters.leader_address)
        self.market_data = MarketData.load(
            state.books, self._disk.store.trading, tip.height, tip.time_ms
        )
        self.events.subscribe(self._on_event)
        self._journal_commit = GroupCommit((self._disk.journal,), self._workers)
        self._vote_commit = GroupCommit((self._disk.store.bodies, self._disk.votes), self._workers)
        self._verifier = Verifier(self._workers)

    def _make_network(self, identity: KeyPair, network: Callable[..., Network]) -> None:
        self.router = Router(self, self._disk.store)
        self.network = network(
            network_config(self.config),
            identity=identity,
            genesis_hash=self.genesis.hash,
            handler=self.router,
            clock=self.clock,
            rng=self._rng,
            signer=self._secret if self.validator_index is not None else None,
            ephemeral=lambda: KeyPair(self._entropy(KEY_BYTES)),
        )
        self.network.reserve(self._voters.keys)
        self.queries = Queries(
            genesis=self.genesis,
            chain=self.chain,
            store=self._disk.store,
            pool=self.pool,
            tracker=self.tracker,
            network=self.network,
        )
        self.feed = Feed(self.genesis, self.chain, self._disk.store)
        self.events.subscribe(self.feed.handle)
        self.waiters = Waiters(self.network.peers, self.timers.call_later)
        self.events.subscribe(self.waiters.handle)

    def _make_consensus(self) -> None:
        self.finality = Finality(
            chain=self.chain,
            store=self._disk.store,
            pool=self.pool,
            tracker=self.tracker,
            events=self.events,
            clock=self.clock,
            workers=self._workers,
            on_final=self._on_final,
        )
        self.engine: Engine | WorkEngine
        if self.quorums is None:
            self.engine = self._make_work_engine()
        else:
            voters = self._voters
            checker = SignatureChecker(self.genesis.hash, voters.keys, self.quorums, self._verify)
            self.engine = self._make_engine(checker, self.quorums)
        self.bodies = Bodies(
            genesis=self.genesis,
            chain=self.chain,
            pool=self.pool,
            verifier=self._verifier,
            transport=self.network,
            clock=self.clock,
            retry_ms=2 * self.genesis.consensus.delta_ms,
            height_of=self._disk.store.height_of,
            on_verdict=self.engine.on_verdict,
        )
        self.engine.bodies = self.bodies
        self.sync: Sync | WorkEngine
        if isinstance(self.engine, WorkEngine):
            self.sync = self.engine
        else:
            self.sync = Sync(
                chain=self.chain,
                store=self._disk.store,
                bodies=self.bodies,
                transport=self.network,
                clock=self.clock,
                check_certificate=checker.check_certificate,
                on_range=self.engine.on_range,
            )

    def _make_doors(self) -> None:
        self.healer = Healer(
            store=self._disk.store,
            transport=self.network,
            clock=self.clock,
            retry_ms=4 * self.genesis.consensus.delta_ms,
        )
        self.relay = Relay(
            pool=self.pool,
            outlet=self.network,
            rng=self._rng,
            call_later=self.timers.call_later,
            clock=self.clock,
        )
        self.intake = Intake(
            genesis=self.genesis,
            chain=self.chain,
            pool=self.pool,
            tracker=self.tracker,
            commit=self._journal_commit,
            verifier=self._verifier,
            events=self.events,
            clock=self.clock,
            is_final=self.queries.is_final,
            on_accepted=self._on_accepted,
        )
        self.returns = Returns(
            chain=self.chain,
            pool=self.pool,
            tracker=self.tracker,
            restore=self.intake.restore,
        )
        self.events.subscribe(self.returns.handle)
        self.ingest = Ingest(
            submit=self.intake.submit,
            punish=self.network.punish,
            monotonic_ms=self.clock.monotonic_ms,
        )

    def _make_work_engine(self) -> WorkEngine:
        return WorkEngine(
            chain=self.chain,
            finality=self.finality,
            store=self._disk.store,
            commit=self._vote_commit,
            network=self.network,
            clock=self.clock,
            restore=lambda checked: self.returns.take(checked),
        )

    def _make_engine(self, checker: SignatureChecker, quorums: Quorums) -> Engine:
        me = self.validator_index
        return Engine(
            core=make_core(
                self.genesis, self._voters, quorums, self.chain, me=me, secret=self._secret
            ),
            checker=checker,
            chain=self.chain,
            finality=self.finality,
            vote_log=self._disk.votes,
            commit=self._vote_commit,
            network=self.network,
            clock=self.clock,
            timers=self.timers,
            has_work=self.pool.has_work,
            spread=make_spread(
                self.genesis,
                me,
                quorums,
                lambda message, peers: self.network.broadcast(message, only=peers),
                self.timers,
            ),
        )
