"""Every decoder of bytes from outside, with what must hold of it whatever the bytes are.

A `Decoder` reads bytes and returns nothing, or raises an error of its `refusals`; anything else is
a finding. What it accepts it checks itself: most write it out again and compare. `samples` are good
inputs, from which both fuzzers start.
"""

import json
import struct
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgpack
import msgspec

from chaind.api.batches import LineSplitter, MessagePackSplitter, item_raw, line_raw, raw_array
from chaind.api.bodies import parse_json
from chaind.api.forms import Forms
from chaind.api.problems import BodyMalformed
from chaind.consensus.records import decode_record, encode_record
from chaind.ledger.checks import check_transaction
from chaind.ledger.errors import REFUSALS
from chaind.network.frames import FRAME_BYTES_MAX, FrameReader
from chaind.network.handshake import PROTOCOL_VERSION, Handshaker, Hello, hello_decoder
from chaind.network.messages import (
    Announce,
    Blocks,
    Bundles,
    Goodbye,
    Message,
    Peers,
    Status,
    Transactions,
    Votes,
    decode_message,
    encode_message,
    work_of,
)
from chaind.network.noise import CipherState, KeyPair
from chaind.network.peers import parse_address
from chaind.node.config import Config, ConfigInvalid, load
from chaind.primitives.address import (
    KEY_ADDRESS_BYTES,
    AddressFormat,
    AddressInvalid,
    key_address,
)
from chaind.primitives.amounts import AMOUNT_MAX, format_amount, parse_amount
from chaind.primitives.block import Block, Header, commitment_decoder
from chaind.primitives.codec import Decoder as Canonical
from chaind.primitives.codec import encode
from chaind.primitives.coinbase import encode_coinbase, parse_coinbase
from chaind.primitives.errors import Conflict, Malformed, NotAllowed, PeerFault, TooLarge
from chaind.primitives.genesis import Genesis, GenesisInvalid, Parameters
from chaind.primitives.keys import SecretKey, verify
from chaind.primitives.policy import check_policy, format_policy, parse_policy, policy_decoder
from chaind.primitives.transaction import Transaction
from chaind.primitives.votes import (
    Certificate,
    Vote,
    VoteBundle,
    certificate_decoder,
    check_certificate_form,
    check_vote_form,
    vote_decoder,
)
from chaind.storage.errors import FileMissing, LogCorrupt
from chaind.storage.log import AppendLog
from chaind.storage.schema import block_row, outcome_row, tip_row, transaction_row

VECTORS = Path(__file__).parents[1] / "vectors"
ADDRESSES = AddressFormat(hrp="chd", p2pkh_version=0x1C)
CHAIN_HASH = bytes(range(32))
HASH = b"\x5a" * 32
PACKED = "messagepack"


class Decoder(NamedTuple):
    """See the module's law."""

    read: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    refusals: tuple[type[Exception], ...] = (Malformed,)
    shape: str = "bytes"  # or a name of `fuzz_mutators.SHAPES`


def _vectors(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return found


def _hexes(*values: str) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(value) for value in values)


def same(again: bytes, data: bytes) -> None:
    """What is accepted is the one way of writing it."""
    assert again == data, f"accepted {data.hex()}, writes {again.hex()}"


# Values of the chain.


def _read_transaction(data: bytes) -> None:
    """The checks that need no state come after the decoder wherever bytes come in."""
    transaction = Transaction.decode(data)
    same(transaction.raw, data)
    check_transaction(transaction, Parameters(), transaction.body.chain)


def _read_policy(data: bytes) -> None:
    policy = policy_decoder.decode(data)
    check_policy(policy)
    assert parse_policy(format_policy(policy)) == policy
    same(encode(policy), data)


def _read_policy_text(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    policy = parse_policy(text)
    check_policy(policy)
    assert parse_policy(format_policy(policy)) == policy


def _read_vote(data: bytes) -> None:
    vote: Vote = vote_decoder.decode(data)
    check_vote_form(vote)
    same(encode(vote), data)


def _read_certificate(data: bytes) -> None:
    certificate: Certificate = certificate_decoder.decode(data)
    check_certificate_form(certificate)
    assert len(list(certificate.votes())) == len(certificate.signatures)
    same(certificate.encode(), data)


def _read_coinbase(data: bytes) -> None:
    coinbase = parse_coinbase(data)
    assert coinbase.height >= 0
    assert all(0 <= output.amount <= AMOUNT_MAX for output in coinbase.outputs)


def _read_address(data: bytes) -> None:
    """What is accepted is what we show, or its capitals: BIP-173 has them for QR codes."""
    text = data.decode("utf-8", "replace")
    address = ADDRESSES.parse(text)
    shown = [ADDRESSES.show(address)]
    if len(address) == KEY_ADDRESS_BYTES:
        shown.append(ADDRESSES.show_base58(address))
    assert text in shown or (text.isupper() and text.lower() == shown[0])


def _read_amount(data: bytes) -> None:
    units = parse_amount(data.decode("utf-8", "replace"))
    assert 0 < units <= AMOUNT_MAX
    assert parse_amount(format_amount(units)) == units


def _read_genesis(data: bytes) -> None:
    genesis = Genesis.from_json(data)
    assert Genesis.from_json(genesis.to_json()) == genesis
    assert len(genesis.hash) == 32


# The network.


class _Plain:
    """No cipher: a tag of zeros, so that the fuzzer reaches what lies behind it."""

    def decrypt(self, data: Any) -> bytes:
        return bytes(data[:-16])


def _read_frames(data: bytes) -> None:
    """Cut anywhere, a stream is the same frames, and no more is held than one record and frame."""
    cut = data[0] % len(data) if data else 0
    found: list[list[bytes]] = []
    for pieces in ((data,), (data[:cut], data[cut:])):
        reader = FrameReader(cast(CipherState, _Plain()))
        found.append([body for piece in pieces for body in reader.feed(piece)])
        assert len(reader._sealed) <= 2 + 0xFFFF
        assert len(reader._plain) <= 4 + FRAME_BYTES_MAX
    assert found[0] == found[1]


def _stream(*bodies: bytes) -> bytes:
    plain = b"".join(struct.pack(">I", len(body)) + body for body in bodies)
    records = [plain[at : at + 500] for at in range(0, len(plain), 500)]
    return b"".join(struct.pack(">H", len(part) + 16) + part + bytes(16) for part in records)


@cache  # making keys costs as much as the handshake itself
def _keys(seed: int) -> tuple[SecretKey, KeyPair, KeyPair]:
    """Of a validator, of its node, and of the connection."""
    one, other = bytes([seed]) * 32, bytes([seed + 8]) * 32
    return SecretKey(one), KeyPair(one), KeyPair(other)


def _shaker(initiator: bool) -> Handshaker:
    key, static, ephemeral = _keys(1 if initiator else 2)
    return Handshaker(
        initiator=initiator,
        genesis_hash=CHAIN_HASH,
        static=static,
        ephemeral=ephemeral,
        hello=Hello(PROTOCOL_VERSION, "fuzz", 9080, 7, key.public),
        sign=key.sign,
        verify=verify,
        admit=lambda static, hello: None,
    )


def _handshake() -> tuple[bytes, bytes]:
    """What an initiator and a responder say to each other."""
    one, two = _shaker(True), _shaker(False)
    first, opening = one.start(), two.start()
    second = two.receive(first)
    third = one.receive(opening + second)
    two.receive(third)
    assert one.complete
    assert two.complete
    return first + third, opening + second


def _read_handshake(initiator: bool) -> Callable[[bytes], None]:
    """The same bytes at once and one cut; either side ends complete with a peer, or it refuses."""

    def read(data: bytes) -> None:
        cut = len(data) // 2
        for pieces in ((data,), (data[:cut], data[cut:])):
            shaker = _shaker(initiator)
            shaker.start()
            for piece in pieces:
                shaker.receive(piece)
            assert not shaker.complete or shaker.remote is not None

    return read


def _read_message(data: bytes) -> None:
    message = decode_message(data)
    assert work_of(message) >= 1
    same(encode_message(message), data)


def _messages() -> tuple[bytes, ...]:
    block = Block.decode(bytes.fromhex(next(iter(_vectors("blocks").values()))["block"]))
    votes = _vectors("votes")
    vote = vote_decoder.decode(bytes.fromhex(votes["vote"]))
    proof = certificate_decoder.decode(bytes.fromhex(next(iter(votes["certificates"].values()))))
    messages: list[Message] = [
        Transactions(tuple(item.raw for item in block.transactions) or (b"x",)),
        Announce((HASH, HASH)),
        Votes((vote,)),
        Bundles((VoteBundle(1, 2, vote.kind, vote.block, b"\x05", (vote.signature, bytes(64))),)),
        Status(1, 2, 3, HASH, 4),
        Blocks(1, (b"x",), proof),
        Peers((("127.0.0.1", 9),)),
        Goodbye("bye"),
    ]
    return tuple(map(encode_message, messages))


def _read_peer_address(data: bytes) -> None:
    address = parse_address(data.decode("utf-8", "replace"))
    assert parse_address(str(address)) == address


# The API.

GENESIS = Genesis.from_json(_vectors("genesis")["sample"]["json"].encode())
FORMS = Forms(GENESIS)


def _read_json(data: bytes) -> None:
    """What our reader takes, an independent one takes as well, and finds no key twice."""
    value = parse_json(data)
    strict = msgspec.json.decode(data)
    if not isinstance(value, (dict, list)):
        assert value == strict or isinstance(strict, float)


def _read_item(data: bytes) -> None:
    """The short way and the long way of reading an item agree."""
    try:
        long_way: bytes | str = item_raw(FORMS, parse_json(data))
    except Malformed as error:
        long_way = error.code
    try:
        short_way: bytes | str = line_raw(FORMS, data)
    except Malformed as error:
        short_way = error.code
    assert short_way == long_way
    if isinstance(long_way, str):
        raise BodyMalformed(reason=long_way)
    if b'"inputs"' in data and b'"raw"' not in data:
        same(Transaction.decode(long_way).raw, long_way)


def _read_array(data: bytes) -> None:
    """The short way of reading an array takes nothing that the long way would read otherwise."""
    found = raw_array(data)
    if found is None:
        raise BodyMalformed(reason="another array")
    assert [item["raw"] for item in parse_json(data)] == found


def _cut(data: bytes) -> Iterable[bytes]:
    step = max(1 + (data[0] if data else 0), len(data) // 64)
    return (data[at : at + step] for at in range(0, len(data), step))


def _whole_or_cut(make: Callable[[], Any], data: bytes) -> list[bytes]:
    """The items of a body, which do not depend on how it was cut."""
    found: list[list[bytes] | None] = []
    for pieces in ((data,), _cut(data)):
        splitter = make()
        try:
            items = [item for piece in pieces for item in splitter.feed(piece)]
            found.append([*items, *splitter.end()])
        except BodyMalformed:
            found.append(None)
    assert found[0] == found[1]
    if found[0] is None:
        raise BodyMalformed(reason="both ways")
    return found[0]


def _read_lines(data: bytes) -> None:
    expected = [line for line in data.split(b"\n") if line.strip()]
    assert _whole_or_cut(LineSplitter, data) == expected


def _read_stream(data: bytes) -> None:
    """An independent reader agrees on where the values of a stream end."""
    items = _whole_or_cut(lambda: MessagePackSplitter(1 << 20), data)
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=1 << 21)
    unpacker.feed(data)
    count = 0
    try:
        while unpacker.tell() < len(data):
            unpacker.skip()
            count += 1
    except (msgpack.OutOfData, msgpack.FormatError, msgpack.StackError, ValueError):
        return  # it has limits of its own: nesting, and timestamps
    assert count == len(items)


def _api_samples() -> tuple[bytes, ...]:
    raws = [v["raw"] for v in _vectors("transactions").values() if "raw" in v]
    forms = [
        msgspec.json.encode(FORMS.transaction_to_json(Transaction.decode(bytes.fromhex(raw))))
        for raw in raws
    ]
    lines = [b'{"raw":"%s"}' % raw.encode() for raw in raws]
    odd = (b'"c0ffee"', b'{"raw":"00","raw":"01"}', b'{ "\\u0072aw" : "00" }', b'[{"raw":"00"}]')
    return (*forms, *lines, *odd)


# The disk and the settings.


class _Memory:
    """Files in memory, as much of them as a log needs; nothing is ever lost."""

    def __init__(self, names: dict[str, bytes]) -> None:
        self.names = {name: bytearray(data) for name, data in names.items()}

    def open_append(self, path: Path) -> "_MemoryFile":
        return _MemoryFile(self.names.setdefault(path.name, bytearray()))

    def read(self, path: Path, offset: int, length: int) -> bytes:
        if path.name not in self.names:
            raise FileMissing(path=str(path), operation="read", reason="not there")
        return bytes(self.names[path.name][offset : offset + length])

    def size(self, path: Path) -> int:
        return len(self.names[path.name])

    def list(self, directory: Path) -> tuple[str, ...]:
        return tuple(sorted(self.names))

    def truncate(self, path: Path, size: int) -> None:
        del self.names[path.name][size:]

    def remove(self, path: Path) -> None:
        del self.names[path.name]

    def sync_dir(self, directory: Path) -> None:
        pass


class _MemoryFile:
    def __init__(self, data: bytearray) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def write(self, data: bytes) -> None:
        self._data += data

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


def _open_log(files: _Memory, lossy: bool) -> AppendLog:
    directory = Path("/log")
    return AppendLog.open(
        cast(Any, files), directory, "x", 400, 300, salt=lambda count: b"s" * count, lossy=lossy
    )


RECORDS = tuple(bytes([number]) * (20 + number) for number in range(24))


def _log_segments() -> list[bytes]:
    files = _Memory({})
    log = _open_log(files, lossy=False)
    for record in RECORDS:
        log.append(record)
    log.close()
    return [bytes(files.names[name]) for name in sorted(files.names)]


SEGMENTS = _log_segments()


def _read_log(lossy: bool) -> Callable[[bytes], None]:
    """A log whose last segment is anything: refused, or what it gives was written, and it works.

    A lossy one is never refused.
    """

    def read(data: bytes) -> None:
        names = {f"x-{number:010}.log": whole for number, whole in enumerate(SEGMENTS[:-1])}
        files = _Memory({**names, f"x-{len(SEGMENTS) - 1:010}.log": data})
        try:
            log = _open_log(files, lossy)
        except LogCorrupt:
            assert not lossy
            raise
        before = [record for _, record in log.replay()]
        log.append(b"new")
        log.close()
        again = [record for _, record in _open_log(files, lossy).replay()]
        assert again == [*before, b"new"]
        known = sum(record in RECORDS for record in before)
        assert known == len(before) or len(data) > 500, "a record that nobody wrote"

    return read


def _rows(decoder: Canonical[Any]) -> Callable[[bytes], None]:
    return lambda data: same(encode(decoder.decode(data)), data)


class _File:
    """A path whose text is given."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_text(self, encoding: str) -> str:
        return self._data.decode(encoding)

    def __str__(self) -> str:
        return "fuzzed.toml"


def _read_config(data: bytes) -> None:
    config = load(cast(Path, _File(data)), {})
    assert msgspec.convert(msgspec.to_builtins(config), Config) == config


def _decoders() -> dict[str, Decoder]:
    blocks, votes = tuple(_vectors("blocks").values()), _vectors("votes")
    transactions = _vectors("transactions").values()
    raws = _hexes(*(vector["raw"] for vector in transactions if "raw" in vector))
    certificates = _hexes(*votes["certificates"].values())
    policy = _vectors("addresses")["policy"]
    texts = tuple(
        entry[form].encode()
        for entry in _vectors("addresses").values()
        for form in ("bech32", "base58check")
        if form in entry
    )
    asked, answered = _handshake()
    network = (Malformed, PeerFault, Conflict, NotAllowed, TooLarge)
    documented = (Path(__file__).parents[2] / "chaind.toml").read_bytes()
    p2pkh = b"\x76\xa9\x14" + key_address(SecretKey(HASH).public) + b"\x88\xac"
    hello = encode(Hello(PROTOCOL_VERSION, "fuzz", 9080, 7))
    vote = vote_decoder.decode(bytes.fromhex(votes["vote"]))
    proof = certificate_decoder.decode(certificates[0])
    return {
        "transaction": Decoder(_read_transaction, raws, REFUSALS, PACKED),
        "block": Decoder(
            lambda data: same(Block.decode(data).encode(), data),
            _hexes(*(vector["block"] for vector in blocks)),
            shape=PACKED,
        ),
        "header": Decoder(
            lambda data: same(Header.decode(data).encode(), data),
            _hexes(*(vector["header"] for vector in blocks)),
        ),
        "commitment": Decoder(
            _rows(commitment_decoder),
            _hexes(*(vector["commitment"] for vector in blocks)),
            shape=PACKED,
        ),
        "coinbase": Decoder(
            _read_coinbase,
            (
                *_hexes(*(vector["coinbase"] for vector in blocks)),
                encode_coinbase(1_001, b"pool", [(p2pkh, 5), (b"\x6a", 0)]),
            ),
        ),
        "policy": Decoder(_read_policy, _hexes(policy["encoded"]), shape=PACKED),
        "policy-text": Decoder(_read_policy_text, (policy["text"].encode(),)),
        "vote": Decoder(_read_vote, _hexes(votes["vote"]), shape=PACKED),
        "certificate": Decoder(_read_certificate, certificates, shape=PACKED),
        "address": Decoder(_read_address, texts, (AddressInvalid,)),
        "amount": Decoder(_read_amount, (b"12.5", b"92233720368.54775807", b"0.00000001")),
        "genesis": Decoder(_read_genesis, (GENESIS.to_json(),), (GenesisInvalid,), "json"),
        "frames": Decoder(_read_frames, (_stream(b"one", b"2" * 900), _stream(b"x")), network),
        "handshake-responder": Decoder(_read_handshake(False), (asked,), network),
        "handshake-initiator": Decoder(_read_handshake(True), (answered,), network),
        "hello": Decoder(_rows(hello_decoder), (hello,), shape=PACKED),
        "message": Decoder(_read_message, _messages(), network, PACKED),
        "peer-address": Decoder(_read_peer_address, (b"127.0.0.1:9080", b"[::1]:1", b"host:65535")),
        "json": Decoder(_read_json, _api_samples(), shape="json"),
        "json-item": Decoder(_read_item, _api_samples(), shape="json"),
        "json-array": Decoder(_read_array, (b'[{"raw":"00"},{"raw":"0102"}]', b"[]"), shape="json"),
        "ndjson": Decoder(_read_lines, (b"\n".join(_api_samples()),), ()),
        "messagepack-stream": Decoder(
            _read_stream, (raws[0], msgpack.packb(raws[0]), b"\x81\xa1a\x92\x01\xc0\xca\0\0\0\0")
        ),
        "log": Decoder(_read_log(lossy=False), (SEGMENTS[-1], SEGMENTS[0]), (LogCorrupt,)),
        "log-lossy": Decoder(_read_log(lossy=True), (SEGMENTS[-1], SEGMENTS[0]), ()),
        "vote-record": Decoder(
            lambda data: same(encode_record(decode_record(data)), data),
            (encode_record(vote), encode_record(proof)),
            shape=PACKED,
        ),
        "block-row": Decoder(_rows(block_row), (encode((HASH, 1, 2, 3, 4)),), shape=PACKED),
        "tip-row": Decoder(_rows(tip_row), (encode((1, HASH, HASH, 2, 3)),), shape=PACKED),
        "transaction-row": Decoder(
            _rows(transaction_row),
            (encode((1, 2, 3, b"a" * 20, 4, ((b"a" * 20, "GOLD", -5),), ((b"b" * 32, 6),), b"m")),),
            shape=PACKED,
        ),
        "outcome-row": Decoder(
            _rows(outcome_row), (encode(("rejected", "", HASH, 1)),), shape=PACKED
        ),
        "config": Decoder(_read_config, (documented, b'[api]\nhost = "a"\n'), (ConfigInvalid,)),
    }


DECODERS = _decoders()


def try_one(name: str, data: bytes) -> bool:
    """Whether the decoder accepts the bytes. Raises whatever it must not.

    A refusal without a word counts as accepted, and is found by that.
    """
    decoder = DECODERS[name]
    try:
        decoder.read(data)
    except decoder.refusals as error:
        return not str(error)
    return True
