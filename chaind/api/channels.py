"""Channels: what happens in the node, told to the subscribers of each, in numbered messages.

Nothing is lost in silence. Every subscription numbers its messages from 1; what a slow reader's
full queue does not take is told as one `gap` message as soon as there is room again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from chaind.api import market_channels
from chaind.api.answers import activity_form, block_summary, encode_json, parse_txid
from chaind.api.forms import Forms, maybe
from chaind.api.news import (
    TransactionState,
    final_state,
    head_news,
    meant,
    reward_news,
    touched,
)
from chaind.api.pulse import Pulse
from chaind.node.events import DroppedEvent, Event, FinalEvent, HeadEvent, PendingEvent
from chaind.node.node import Node
from chaind.node.queries import BlockInfo, TransactionUnknown
from chaind.primitives.amounts import format_amount
from chaind.primitives.block import Block
from chaind.primitives.errors import Malformed, TooMany
from chaind.primitives.hashes import display_hash

QUEUE_MESSAGES_MAX = 1_024  # some seconds of everything
QUEUE_BYTES_MAX = 1 << 19  # times the clients: what slow readers may cost
CLIENTS_MAX = 512
CHANNELS_MAX = 256  # of one client; a wallet follows its addresses, not the whole chain
MEMPOOL_MS = 50.0  # changes of the pool are told together: thousands may come in a second
MEMPOOL_SHOWN_MAX = 1_000  # of them by name, the rest as a count
REPLAY_ENTRIES_MAX = 500  # of an account's history; there are pages for more

# A channel's subject: ("blocks",), ("mempool",), ("consensus",), ("tx", txid),
# ("account", address), or one of `market_channels`.
Subject = tuple[Any, ...]
BLOCKS: Subject = ("blocks",)
MEMPOOL: Subject = ("mempool",)
CONSENSUS: Subject = ("consensus",)


class ChannelInvalid(Malformed):
    code = "channel-invalid"
    text = "{channel!r} is not a channel"
    advice = (
        "Channels are blocks, mempool, consensus, tx:ID, account:ADDRESS, book:SYMBOL, "
        "trades:SYMBOL, ticker:SYMBOL, candles:SYMBOL:INTERVAL and orders:ACCOUNT."
    )


class TooManySockets(TooMany):
    code = "too-many-sockets"
    text = "this node serves {limit} WebSockets, and all are taken"
    advice = "Try again later, ask another node, or close WebSockets that you no longer need."


class TooManyChannels(TooMany):
    code = "too-many-channels"
    text = "one WebSocket has at most {limit} channels"
    advice = "Unsubscribe from channels that you no longer need, or open another WebSocket."


class Message(msgspec.Struct, frozen=True):
    """One message of a channel. A `gap` stands for messages `data.from_seq` to `seq`."""

    channel: str
    seq: int
    type: str
    data: msgspec.Raw | dict[str, Any]


class Subscription:
    """One channel of one client. `replay_from` is the next height to replay, None when live."""

    __slots__ = ("channel", "missed_from", "replay_from", "seq")

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.seq = 0
        self.missed_from: int | None = None
        self.replay_from: int | None = None


class Client:
    """One WebSocket's subscriptions and its queue of encoded messages."""

    def __init__(self) -> None:
        self.subscriptions: dict[Subject, Subscription] = {}
        self.wanted = asyncio.Event()
        self._queue: deque[bytes] = deque()
        self._bytes = 0

    @property
    def full(self) -> bool:
        """No room for another message."""
        return len(self._queue) >= QUEUE_MESSAGES_MAX or self._bytes >= QUEUE_BYTES_MAX

    def put(self, frame: bytes) -> None:
        """Queue a frame whatever the bound: the caller has looked."""
        self._queue.append(frame)
        self._bytes += len(frame)
        self.wanted.set()

    def post(self, subscription: Subscription, kind: str, data: msgspec.Raw) -> None:
        """Queue a message of a channel, or remember that it was missed."""
        subscription.seq += 1
        if self.full:
            if subscription.missed_from is None:
                subscription.missed_from = subscription.seq
            return
        if subscription.missed_from is not None:
            self._put_gap(subscription, subscription.seq - 1)
        message = Message(subscription.channel, subscription.seq, kind, data)
        self.put(encode_json(message))

    def take(self) -> bytes | None:
        """The next frame; gaps that nothing else will tell come when the queue is empty."""
        if not self._queue:
            for subscription in self.subscriptions.values():
                if subscription.missed_from is not None:
                    self._put_gap(subscription, subscription.seq)
        if not self._queue:
            return None
        frame = self._queue.popleft()
        self._bytes -= len(frame)
        return frame

    def _put_gap(self, subscription: Subscription, last: int) -> None:
        data = {"from_seq": subscription.missed_from, "reason": "slow reader"}
        subscription.missed_from = None
        self.put(encode_json(Message(subscription.channel, last, "gap", data)))


class Hub:
    """All clients of one node. Listens to the node only while somebody listens to it."""

    def __init__(self, node: Node, forms: Forms) -> None:
        self._node = node
        self._forms = forms
        self._clients: set[Client] = set()
        self._by_subject: dict[Subject, dict[Client, Subscription]] = {}
        self._of_kind: dict[str, int] = {}  # subscriptions by the first part of their subject
        self._unsubscribe: Callable[[], None] | None = None
        self._added: list[dict[str, Any]] = []
        self._dropped: list[dict[str, Any]] = []
        self._counts = [0, 0]  # added, dropped
        self._timer: asyncio.TimerHandle | None = None
        self._pulse = Pulse(node, self._tell_consensus)
        self._markets = market_channels.MarketChannels(
            node, forms, self._by_subject.__contains__, self._tell
        )

    def join(self) -> Client:
        """A new client. Raises `TooManySockets`."""
        if len(self._clients) >= CLIENTS_MAX:
            raise TooManySockets(limit=CLIENTS_MAX)
        client = Client()
        self._clients.add(client)
        if self._unsubscribe is None:
            self._unsubscribe = self._node.events.subscribe(self._handle)
        return client

    def leave(self, client: Client) -> None:
        """Forget a client."""
        for subject in tuple(client.subscriptions):
            self._remove(client, subject)
        self._clients.discard(client)
        if not self._clients and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def parse(self, channel: str) -> Subject:
        """The subject of a channel's name. Raises `ChannelInvalid` or what its part raises."""
        if channel in ("blocks", "mempool", "consensus"):
            return (channel,)
        kind, _, rest = channel.partition(":")
        if kind == "tx":
            return (kind, parse_txid(rest))
        if kind == "account":
            return (kind, self._node.payments.resolve(rest))
        if kind in market_channels.KINDS:
            return self._markets.parse(kind, rest)
        raise ChannelInvalid(channel=channel[:80])

    def check_room(self, client: Client, subjects: Iterable[Subject]) -> None:
        """Raise `TooManyChannels` where a client cannot have these as well."""
        if len({*client.subscriptions, *subjects}) > CHANNELS_MAX:
            raise TooManyChannels(limit=CHANNELS_MAX)

    def subscribe(
        self, client: Client, channel: str, subject: Subject, from_height: int | None
    ) -> None:
        """Begin a channel, again from 1 where the client has it already."""
        self.unsubscribe(client, subject)
        subscription = Subscription(channel)
        client.subscriptions[subject] = subscription
        self._by_subject.setdefault(subject, {})[client] = subscription
        self._of_kind[subject[0]] = self._of_kind.get(subject[0], 0) + 1
        match subject:
            case ("blocks",) if from_height is not None:
                subscription.replay_from = max(1, from_height)
                client.wanted.set()
            case ("consensus",):
                client.post(subscription, "consensus", _raw(self._pulse.news()))
            case ("tx", txid):
                client.post(subscription, "transaction", self._transaction(txid))
            case ("account", address) if from_height is not None:
                self._replay_account(client, subscription, address, from_height)
            case (kind, _) | (kind, _, _) if kind in market_channels.KINDS:
                for sort, data in self._markets.first(subject, from_height):
                    client.post(subscription, sort, data)

    def unsubscribe(self, client: Client, subject: Subject) -> None:
        """End a channel, if the client has it."""
        if subject in client.subscriptions:
            self._remove(client, subject)

    def _remove(self, client: Client, subject: Subject) -> None:
        del client.subscriptions[subject]
        readers = self._by_subject[subject]
        del readers[client]
        if not readers:
            del self._by_subject[subject]
            if subject == CONSENSUS:
                self._pulse.rest()
        self._of_kind[subject[0]] -= 1

    # Replay.

    def replay(self, client: Client) -> bool:
        """Queue the next block of each replay, or make it live; False where none is left.

        Between the look at the tip and the switch nothing else runs, so no block falls between.
        """
        active = False
        for subscription in client.subscriptions.values():
            height = subscription.replay_from
            if height is None:
                continue
            info = self._node.queries.block(height)
            if info is None:
                subscription.replay_from = None
                continue
            subscription.replay_from = height + 1
            client.post(subscription, "block", _raw(block_summary(self._forms, info)))
            active = True
        return active

    def _replay_account(
        self, client: Client, subscription: Subscription, address: bytes, from_height: int
    ) -> None:
        found = self._node.queries.activity(address, None, REPLAY_ENTRIES_MAX + 1)
        entries = [entry for entry in found if entry.height >= from_height]
        if len(entries) > REPLAY_ENTRIES_MAX:
            entries.pop()
            oldest = entries[-1]
            subscription.seq += 1
            data = {
                "from_seq": subscription.seq,
                "reason": "more history than is replayed",
                "next_cursor": f"{oldest.height}.{oldest.place}",
            }
            client.put(encode_json(Message(subscription.channel, subscription.seq, "gap", data)))
        for entry in reversed(entries):
            client.post(subscription, "activity", _raw(activity_form(self._forms, entry)))

    # News.

    def _handle(self, event: Event) -> None:
        if CONSENSUS in self._by_subject:
            self._pulse.handle(event)
        match event:
            case FinalEvent():
                self._on_final(event)
            case HeadEvent():
                self._on_head(event)
            case PendingEvent(entered):
                if self._of_kind.get("tx"):
                    for checked in entered:
                        self._tell_transaction(checked.txid)
                if MEMPOOL in self._by_subject:
                    for checked in entered:
                        self._note_entered(checked.txid)
            case DroppedEvent(txid, reason, by, ended):
                if ended and self._of_kind.get("tx"):
                    self._tell_transaction(txid)
                if MEMPOOL in self._by_subject:
                    rival = maybe(bytes.hex, by)
                    self._note(
                        1, self._dropped, {"tx_id": txid.hex(), "reason": reason, "by": rival}
                    )

    def _on_head(self, event: HeadEvent) -> None:
        """Nothing of it is final: whoever follows a transaction hears where it stands now."""
        if BLOCKS in self._by_subject:
            self._tell(BLOCKS, "head", _raw(head_news(self._node, event)))
        if not (self._of_kind.get("tx") or self._of_kind.get("account")):
            return
        for body in event.undone:
            self._tell_rewards(body.block, "lost")
        for body in event.applied:
            self._tell_rewards(body.block, "included")
        moved = {
            checked.txid: checked
            for body in (*event.undone, *event.applied)
            for checked in body.checked
        }
        for txid, checked in moved.items():
            self._tell_transaction(txid)
            for address in meant(checked):
                if ("account", address) in self._by_subject:
                    self._tell(("account", address), "transaction", self._transaction(txid))

    def _tell_rewards(self, block: Block, status: str) -> None:
        """What a mined block pays, told to those who follow whom it pays."""
        if not self._of_kind.get("account"):
            return
        maturity = self._node.genesis.parameters.coinbase_maturity
        for address, data in reward_news(block, maturity, status):
            if ("account", address) in self._by_subject:
                self._tell(("account", address), "reward", _raw(data))

    def _on_final(self, event: FinalEvent) -> None:
        block = event.block
        if BLOCKS in self._by_subject:
            info = BlockInfo(block.height, block.hash, block, event.certificate, final=True)
            self._tell(BLOCKS, "block", _raw(block_summary(self._forms, info)))
        self._markets.take(event)
        if MEMPOOL in self._by_subject:
            left = {"height": block.height, "transaction_count": len(block.transactions)}
            self._tell(MEMPOOL, "included", _raw(left))
        self._tell_rewards(block, "final")
        follows_transactions = bool(self._of_kind.get("tx"))
        follows_accounts = bool(self._of_kind.get("account"))
        if not (follows_transactions or follows_accounts):
            return
        for place, receipt in enumerate(event.receipts):
            if follows_transactions and ("tx", receipt.checked.txid) in self._by_subject:
                state = final_state(receipt.checked.txid, event)
                self._tell(("tx", receipt.checked.txid), "transaction", _raw(state))
            if follows_accounts:
                for address in touched(receipt):
                    if ("account", address) in self._by_subject:
                        self._tell_activity(address, block.height, place)

    def _tell(self, subject: Subject, kind: str, data: msgspec.Raw) -> None:
        for client, subscription in self._by_subject[subject].items():
            if subscription.replay_from is None:
                client.post(subscription, kind, data)

    def _tell_consensus(self) -> None:
        self._tell(CONSENSUS, "consensus", _raw(self._pulse.news()))

    def _tell_transaction(self, txid: bytes) -> None:
        if ("tx", txid) in self._by_subject:
            self._tell(("tx", txid), "transaction", self._transaction(txid))

    def _tell_activity(self, address: bytes, height: int, place: int) -> None:
        for entry in self._node.queries.activity(address, (height, place + 1), 1):
            if (entry.height, entry.place) == (height, place):  # else it only signed
                data = _raw(activity_form(self._forms, entry))
                self._tell(("account", address), "activity", data)

    def _transaction(self, txid: bytes) -> msgspec.Raw:
        try:
            info = self._node.queries.transaction(txid)
        except TransactionUnknown:
            return _raw(TransactionState(txid.hex(), "unknown"))
        return _raw(
            TransactionState(
                txid.hex(),
                info.status,
                info.reason,
                maybe(bytes.hex, info.by),
                info.height,
                maybe(display_hash, info.block_hash),
                info.time_ms,
            )
        )

    # The pool, told together.

    def _note_entered(self, txid: bytes) -> None:
        waiting = self._node.pool.get(txid)
        if waiting is not None:  # it may have been replaced at once
            fee = format_amount(waiting.fee)
            self._note(0, self._added, {"tx_id": txid.hex(), "fee": fee, "size": waiting.size})

    def _note(self, which: int, entries: list[dict[str, Any]], entry: dict[str, Any]) -> None:
        self._counts[which] += 1
        if len(entries) < MEMPOOL_SHOWN_MAX:
            entries.append(entry)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(MEMPOOL_MS / 1000, self._tell_pool)

    def _tell_pool(self) -> None:
        self._timer = None
        added, dropped = self._counts
        data = _raw(
            {
                "added": self._added,
                "added_count": added,
                "dropped": self._dropped,
                "dropped_count": dropped,
                "pending": self._node.queries.pending_count,
            }
        )
        self._added, self._dropped, self._counts = [], [], [0, 0]
        if MEMPOOL in self._by_subject:
            self._tell(MEMPOOL, "mempool", data)

    def close(self) -> None:
        """Stop listening; clients leave by themselves."""
        if self._timer is not None:
            self._timer.cancel()
        self._pulse.rest()
        self._markets.close()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(encode_json(value))
