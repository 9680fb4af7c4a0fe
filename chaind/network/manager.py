"""The network as the node uses it: peers come and go, messages go out and come in.

Owns the listener, the dialling, who may be a peer, and the peer exchange. It knows nothing of
what messages mean: the node is its `Handler`. Every task lives in the group given to `start`; a
failure of our own code, the handler's included, ends that group.
"""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Iterable
from random import Random
from typing import Any, Protocol

import structlog
from msgspec import Struct

from chaind.network.admission import (
    AlreadyConnected,
    Banned,
    Dropped,
    PeersFull,
    SelfConnection,
    ShuttingDown,
    supersedes,
)
from chaind.network.connection import Clock, Connection, Timing
from chaind.network.dialler import Dialler
from chaind.network.exchange import Exchange
from chaind.network.handshake import PROTOCOL_VERSION, Handshaker, Hello, Signer, Verify
from chaind.network.messages import GetPeers, Message, Peers, encode_message
from chaind.network.noise import KeyPair
from chaind.network.peer import Peer, PeerStats, describe
from chaind.network.peers import Address, PeerBook, Scores, points_of, reach
from chaind.primitives import keys
from chaind.primitives.errors import ChaindError, LocalFault, Malformed, PeerFault

HANDSHAKES_MAX = 64  # callers not yet introduced: each costs three X25519 exchanges
INBOUND_PER_HOST_MAX = 8  # so that one machine cannot take all seats; loopback is exempt

log = structlog.get_logger("chaind.network")


class CannotListen(LocalFault):
    """The peer-to-peer port is taken."""

    code = "cannot-listen"
    text = "cannot accept peers on {host}:{port}: the port is in use"
    advice = "Choose another port (--p2p-port, [network] p2p_port), or end what holds this one."
    exit_code = 69  # EX_UNAVAILABLE


class AddressUnusable(LocalFault):
    """The peer-to-peer address is none of this machine's, or not for this user."""

    code = "p2p-address-invalid"
    text = "cannot accept peers on {host}:{port}: {reason}"
    advice = (
        "Give [network] host an address of this machine: 127.0.0.1 for this machine alone, 0.0.0.0 "
        "for all. Ports below 1024 need a right that this user may lack: see --p2p-port."
    )
    exit_code = 69  # EX_UNAVAILABLE


def listen_reason(error: OSError) -> str:
    """Why an address cannot be listened on, in the system's words alone."""
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)


class Handler(Protocol):
    """What the network needs from the node. Called from the loop, never awaited.

    `message` may raise a `PeerFault`, which is punished; any other exception ends the node.
    """

    def peer_up(self, peer: Peer) -> None:
        """`peer` can be sent to from now on."""

    def peer_down(self, peer: Peer, reason: str) -> None:
        """`peer` is gone; what was queued for it is lost."""

    def message(self, peer: Peer, message: Message) -> None:
        """A message of sound form."""


class NetworkConfig(Struct, frozen=True, kw_only=True):
    """Where to listen and how many peers to keep. `port` 0 takes any free one."""

    host: str = "127.0.0.1"
    port: int = 0
    persistent: tuple[Address, ...] = ()
    inbound_max: int = 48
    outbound_max: int = 16
    exchange: bool = True
    agent: str = "chaind"
    upkeep_ms: int = 250
    exchange_ms: int = 60_000
    connect_ms: int = 5_000
    timing: Timing = Timing()


class Network:
    """See the module. `final_height` is the node's to keep, for the Hello of new connections."""

    def __init__(
        self,
        config: NetworkConfig,
        *,
        identity: KeyPair,
        genesis_hash: bytes,
        handler: Handler,
        clock: Clock,
        rng: Random,
        signer: Signer | None = None,
        verify: Verify = keys.verify,
        book: PeerBook | None = None,
        ephemeral: Callable[[], KeyPair] = KeyPair.generate,
    ) -> None:
        self.node_id = identity.node_id
        self.port = config.port
        self.final_height = 0
        self.book = PeerBook(rng) if book is None else book
        self.scores = Scores()
        self._config = config
        self._identity = identity
        self._genesis_hash = genesis_hash
        self._handler = handler
        self._clock = clock
        self._signer = signer
        self._verify = verify
        self._ephemeral = ephemeral
        self._reserved: frozenset[bytes] = frozenset()
        self._connections: dict[Connection, None] = {}  # a set that keeps its order
        self._peers: dict[Connection, Peer] = {}
        self._by_id: dict[str, Peer] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}  # likewise
        self._group: asyncio.TaskGroup | None = None
        self._server: asyncio.Server | None = None
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._failure: Exception | None = None
        self._stopping = False
        self._dialler = Dialler(
            self.book,
            clock=clock,
            connect_ms=config.connect_ms,
            outbound_max=config.outbound_max,
            connection=self._connection,
            spawn=self._spawn,
        )
        self._exchange = Exchange(
            self._dialler,
            clock=clock,
            rng=rng,
            interval_ms=config.exchange_ms if config.exchange else None,
        )

    # For the node

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Listen, and dial in tasks of `group`. Raises `CannotListen` or `AddressUnusable`."""
        host, port = self._config.host, self._config.port
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: self._connection(None), host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise CannotListen(host=host, port=port) from None
            raise AddressUnusable(host=host, port=port, reason=listen_reason(error)) from None
        self.port = self._server.sockets[0].getsockname()[1]
        for address in self._config.persistent:
            self.book.add_persistent(address)
        self._group = group
        self._spawn(self._keep_up())

    async def stop(self) -> None:
        """Say goodbye, close everything, end the tasks. The handler hears every `peer_down`."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        for connection in list(self._connections):
            connection.close(ShuttingDown())
        if self._connections:
            try:
                async with asyncio.timeout(self._config.timing.linger_ms / 1000):
                    await self._empty.wait()
            except TimeoutError:
                for connection in self._connections:
                    connection.abort()
                await self._empty.wait()

    def peers(self) -> list[Peer]:
        """Connected now, longest first."""
        return list(self._by_id.values())

    def send(self, peer: Peer, message: Message) -> None:
        """Queue `message` for one peer; lost without a word where the connection is closing."""
        peer.connection.send(encode_message(message))

    def broadcast(
        self,
        message: Message,
        *,
        except_: Peer | None = None,
        only: Iterable[Peer] | None = None,
    ) -> None:
        """Queue `message`, encoded once, for all peers or for `only` those."""
        body = encode_message(message)
        for peer in self._by_id.values() if only is None else only:
            if peer is not except_:
                peer.connection.send(body)

    def punish(self, peer: Peer, fault: PeerFault) -> None:
        """Count `fault` against the peer; drop it where it is banned or sent nonsense."""
        banned = self._blame(peer.connection, fault)
        if banned or isinstance(fault, Malformed):
            peer.connection.close(Dropped(reason=fault))

    def drop(self, peer: Peer, fault: PeerFault) -> None:
        """Count `fault` against the peer and part with it, whatever the fault weighs."""
        self._blame(peer.connection, fault)
        peer.connection.close(Dropped(reason=fault))

    def add_peer(self, address: Address, *, persistent: bool = False) -> None:
        """Dial an address that a person gave, now; again and again where `persistent`."""
        if persistent:
            self.book.add_persistent(address)
        self._dialler.dial(address)

    def reserve(self, validator_keys: Iterable[bytes]) -> None:
        """Nodes with these proven keys are admitted even where all seats are taken."""
        self._reserved = frozenset(validator_keys)

    def stats(self) -> list[PeerStats]:
        """A snapshot of every connected peer."""
        now_ms = self._clock.monotonic_ms()
        return [
            describe(peer, now_ms=now_ms, score=self.scores.points(peer.node_id, now_ms=now_ms))
            for peer in self._by_id.values()
        ]

    # Owner of connections

    def handshaker(self, connection: Connection) -> Handshaker:
        """A fresh handshake for `connection`, with where we stand now."""
        hello = Hello(
            version=PROTOCOL_VERSION,
            agent=self._config.agent,
            port=self.port,
            final_height=self.final_height,
            validator_key=None if self._signer is None else self._signer.public,
        )
        return Handshaker(
            initiator=not connection.inbound,
            genesis_hash=self._genesis_hash,
            static=self._identity,
            ephemeral=self._ephemeral(),
            hello=hello,
            sign=None if self._signer is None else self._signer.sign,
            verify=self._verify,
            admit=lambda static, theirs: self._admit(connection, static.hex(), theirs),
        )

    def connected(self, connection: Connection) -> None:
        """Cheap refusals, before anything is sent or read."""
        self._connections[connection] = None
        self._empty.clear()
        if self._stopping:
            raise ShuttingDown
        if not connection.inbound:
            return
        if self.scores.is_banned(connection.host, now_ms=self._clock.monotonic_ms()):
            raise Banned(name=connection.host)
        waiting = [c.host for c in self._connections if c.inbound and not c.is_open]
        if len(waiting) > HANDSHAKES_MAX:
            raise PeersFull(taken=len(waiting) - 1, limit=HANDSHAKES_MAX)
        if waiting.count(connection.host) > INBOUND_PER_HOST_MAX and reach(connection.host) != 0:
            raise PeersFull(taken=INBOUND_PER_HOST_MAX, limit=INBOUND_PER_HOST_MAX)

    def opened(self, connection: Connection) -> None:
        """The connection has become a peer, the only one of its node id."""
        assert connection.opened_ms is not None
        peer = Peer(connection, connected_ms=connection.opened_ms)
        old = self._by_id.get(peer.node_id)
        if old is not None:
            error = AlreadyConnected(node_id=peer.node_id)
            old.connection.close(error)
            self._forget_peer(old.connection, error)
        self._peers[connection] = peer
        self._by_id[peer.node_id] = peer
        if connection.dialled is not None:
            self.book.succeeded(
                connection.dialled, node_id=peer.node_id, now_ms=self._clock.now_ms()
            )
        connection.ping()
        self._exchange.ask(peer)
        self._handler.peer_up(peer)

    def received(self, connection: Connection, message: Message) -> None:
        """Peer exchange is ours, everything else the handler's."""
        peer = self._peers.get(connection)
        if peer is None:  # superseded in this very turn
            return
        try:
            if isinstance(message, GetPeers):
                self._exchange.tell(peer, self.peers())
            elif isinstance(message, Peers):
                if self._exchange.hear(peer, message):
                    self._wake.set()
            else:
                self._handler.message(peer, message)
        except PeerFault as fault:
            self.punish(peer, fault)

    def closed(self, connection: Connection, error: ChaindError) -> None:
        """Blame who is to blame, wait before the next dial."""
        if isinstance(error, PeerFault):
            self._blame(connection, error)
        if connection.dialled is not None:
            now_ms, opened_ms = self._clock.monotonic_ms(), connection.opened_ms
            lasted_ms = 0.0 if opened_ms is None else now_ms - opened_ms
            self._dialler.ended(connection.dialled, error, lasted_ms=lasted_ms)
        if connection.hello is None:  # strangers may call as often as they like: no log for them
            level = logging.DEBUG if connection.inbound else logging.INFO
            log.log(level, "handshake_failed", host=connection.host, error=str(error))
        self._forget_peer(connection, error)

    def gone(self, connection: Connection) -> None:
        """One socket less."""
        self._connections.pop(connection, None)
        if not self._connections:
            self._empty.set()

    def crashed(self, error: Exception) -> None:
        """Raise `error` where the task group sees it."""
        self._failure = error
        self._wake.set()

    # Within

    def _connection(self, dialled: Address | None) -> Connection:
        return Connection(
            owner=self, clock=self._clock, timing=self._config.timing, dialled=dialled
        )

    def _admit(self, connection: Connection, node_id: str, hello: Hello) -> None:
        if node_id == self.node_id:
            raise SelfConnection(address=connection.dialled or connection.host)
        if self.scores.is_banned(node_id, now_ms=self._clock.monotonic_ms()):
            raise Banned(name=node_id)
        old = self._by_id.get(node_id)
        if old is None:
            if connection.inbound and hello.validator_key not in self._reserved:
                self._check_seats(connection.host)
        elif not supersedes(
            inbound=connection.inbound,
            old_inbound=old.inbound,
            old_age_ms=self._clock.monotonic_ms() - old.connected_ms,
            my_id=self.node_id,
            their_id=node_id,
        ):
            if connection.dialled is not None:  # so that its address is not dialled again
                now_ms = self._clock.now_ms()
                self.book.succeeded(connection.dialled, node_id=node_id, now_ms=now_ms)
            raise AlreadyConnected(node_id=node_id)

    def _check_seats(self, host: str) -> None:
        callers = [peer.host for peer in self._by_id.values() if peer.inbound]
        if len(callers) >= self._config.inbound_max:
            raise PeersFull(taken=len(callers), limit=self._config.inbound_max)
        if callers.count(host) >= INBOUND_PER_HOST_MAX and reach(host) != 0:
            raise PeersFull(taken=callers.count(host), limit=INBOUND_PER_HOST_MAX)

    def _forget_peer(self, connection: Connection, error: ChaindError) -> None:
        peer = self._peers.pop(connection, None)
        if peer is not None:
            del self._by_id[peer.node_id]
            self._handler.peer_down(peer, str(error))

    def _blame(self, connection: Connection, fault: PeerFault) -> bool:
        """Points for the node id, and for the host unless half the test network shares it."""
        names = [] if reach(connection.host) == 0 else [connection.host]
        if connection.remote_static:
            names.append(connection.remote_static.hex())
        points, now_ms = points_of(fault), self._clock.monotonic_ms()
        bans = [self.scores.add(name, points, now_ms=now_ms) for name in names]  # blame every name
        return any(bans)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._group is not None, "start comes first"
        task = self._group.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    async def _keep_up(self) -> None:
        """The one standing task: deadlines, dialling, exchange, and the failures of callbacks."""
        while True:
            for connection in list(self._connections):
                connection.tick()
            self._dial_due()
            self._exchange.ask_someone(self.peers())
            try:
                async with asyncio.timeout(self._config.upkeep_ms / 1000):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()
            if self._failure is not None:
                raise self._failure

    def _dial_due(self) -> None:
        busy: set[Address | str] = {*self.scores.banned(now_ms=self._clock.monotonic_ms())}
        for peer in self._by_id.values():
            busy |= {peer.address, peer.node_id}
        calls = [c.dialled for c in self._connections if c.dialled is not None]
        busy.update(calls)
        self._dialler.dial_due(busy, outbound=len(calls))
