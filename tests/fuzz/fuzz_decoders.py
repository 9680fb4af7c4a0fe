"""Every decoder of bytes from outside, with what must hold of it whatever the bytes are.

A `Decoder` reads bytes and returns nothing, or raises an error of its `refusals`; anything else is
a finding. What it accepts it checks itself: most write it out again and compare. `samples` are good
inputs, from which both fuzzers start.
"""

from pathlib import Path

import msgpack
import msgspec
from fuzz_api import GENESIS, api_samples, read_array, read_item, read_json, read_lines, read_stream
from fuzz_bodies import read_request_body, read_rpc_call, request_bodies, rpc_calls
from fuzz_compact import compact, read_compact, read_rest, rest
from fuzz_disk import SEGMENTS, read_config, read_log
from fuzz_files import (
    INVOICE,
    WEBHOOK,
    keystore,
    read_invoice,
    read_keystore,
    read_webhook,
)
from fuzz_gbt import TEMPLATE, handed_in, read_parts, read_template
from fuzz_law import HASH, PACKED, Decoder, hexes, rows, same, vectors
from fuzz_market import MARKET_ROWS
from fuzz_miner import ANSWERS, REQUESTS, read_pool_line, read_request
from fuzz_network import (
    handshake,
    messages,
    read_frames,
    read_handshake,
    read_message,
    read_peer_address,
    stream,
)
from fuzz_values import (
    read_address,
    read_amount,
    read_certificate,
    read_coinbase,
    read_genesis,
    read_payment_uri,
    read_policy,
    read_policy_text,
    read_refund_memo,
    read_transaction,
    read_vote,
)

from chaind.api.rpc_errors import RpcRefused
from chaind.api.webhook_records import WebhookFileInvalid
from chaind.consensus.records import decode_record, encode_record
from chaind.ledger.errors import REFUSALS
from chaind.ledger.trading import Refused
from chaind.network.handshake import PROTOCOL_VERSION, Hello, hello_decoder
from chaind.node.config import ConfigInvalid
from chaind.primitives.address import (
    AddressInvalid,
    key_address,
)
from chaind.primitives.block import Block, Header, commitment_decoder
from chaind.primitives.codec import encode
from chaind.primitives.coinbase import encode_coinbase
from chaind.primitives.errors import Conflict, Malformed, NotAllowed, PeerFault, TooLarge
from chaind.primitives.genesis import GenesisInvalid
from chaind.primitives.keys import SecretKey
from chaind.primitives.references import RefundMemo, refund_memo
from chaind.primitives.transaction import Transaction, body_decoder
from chaind.primitives.votes import (
    certificate_decoder,
    vote_decoder,
)
from chaind.storage.errors import LogCorrupt
from chaind.storage.invoices import InvoiceDamaged
from chaind.storage.schema import (
    TransactionRow,
    block_row,
    outcome_row,
    tip_row,
    transaction_row,
)
from chaind.wallet.keystore import KeystoreDamaged, KeystoreUnknown

URI = (
    b"chaind:chd1q?amount=1.5&asset=COIN&memo=invoice%3A00&chain=0123456789abcdef&expires_ms=9"
    b"&note=two%20ch%C3%A4irs"
)
REFUND = RefundMemo(HASH, 12, HASH[:16])


PAID = TransactionRow(1, 2, 3, b"a" * 20, 4, ((b"a" * 20, "GOLD", -5),), ((b"b" * 32, 6),), b"m")
TRADED = msgspec.structs.replace(PAID, trades=True, refused=Refused("order-not-open", ("00" * 32,)))


def _decoders() -> dict[str, Decoder]:
    blocks, votes = tuple(vectors("blocks").values()), vectors("votes")
    transactions = vectors("transactions").values()
    raws = hexes(*(vector["raw"] for vector in transactions if "raw" in vector))
    certificates = hexes(*votes["certificates"].values())
    policy = vectors("addresses")["policy"]
    texts = tuple(
        entry[form].encode()
        for entry in vectors("addresses").values()
        for form in ("bech32", "base58check")
        if form in entry
    )
    asked, answered = handshake()
    network = (Malformed, PeerFault, Conflict, NotAllowed, TooLarge)
    documented = (Path(__file__).parents[2] / "chaind.toml").read_bytes()
    p2pkh = b"\x76\xa9\x14" + key_address(SecretKey(HASH).public) + b"\x88\xac"
    hello = encode(Hello(PROTOCOL_VERSION, "fuzz", 9080, 7))
    vote = vote_decoder.decode(bytes.fromhex(votes["vote"]))
    proof = certificate_decoder.decode(certificates[0])
    return {
        "transaction": Decoder(read_transaction, raws, REFUSALS, PACKED),
        "transaction-body": Decoder(
            rows(body_decoder),
            tuple(Transaction.decode(raw).body_bytes for raw in raws),
            shape=PACKED,
        ),
        "block": Decoder(
            lambda data: same(Block.decode(data).encode(), data),
            hexes(*(vector["block"] for vector in blocks)),
            shape=PACKED,
        ),
        "header": Decoder(
            lambda data: same(Header.decode(data).encode(), data),
            hexes(*(vector["header"] for vector in blocks)),
        ),
        "commitment": Decoder(
            rows(commitment_decoder),
            hexes(*(vector["commitment"] for vector in blocks)),
            shape=PACKED,
        ),
        "coinbase": Decoder(
            read_coinbase,
            (
                *hexes(*(vector["coinbase"] for vector in blocks)),
                encode_coinbase(1_001, b"pool", [(p2pkh, 5), (b"\x6a", 0)]),
            ),
        ),
        "policy": Decoder(read_policy, hexes(policy["encoded"]), shape=PACKED),
        "policy-text": Decoder(read_policy_text, (policy["text"].encode(),)),
        "vote": Decoder(read_vote, hexes(votes["vote"]), shape=PACKED),
        "certificate": Decoder(read_certificate, certificates, shape=PACKED),
        "address": Decoder(read_address, texts, (AddressInvalid,)),
        "amount": Decoder(read_amount, (b"12.5", b"92233720368.54775807", b"0.00000001")),
        "payment-uri": Decoder(read_payment_uri, (URI,)),
        "refund-memo": Decoder(read_refund_memo, (refund_memo(REFUND, b"sorry"),), ()),
        "genesis": Decoder(read_genesis, (GENESIS.to_json(),), (GenesisInvalid,), "json"),
        "frames": Decoder(read_frames, (stream(b"one", b"2" * 900), stream(b"x")), network),
        "handshake-responder": Decoder(read_handshake(False), (asked,), network),
        "handshake-initiator": Decoder(read_handshake(True), (answered,), network),
        "hello": Decoder(rows(hello_decoder), (hello,), shape=PACKED),
        "message": Decoder(read_message, messages(), network, PACKED),
        "compact-block": Decoder(read_compact(True), (compact(),), network, PACKED),
        "compact-block-lacking": Decoder(read_compact(False), (compact(),), network, PACKED),
        "compact-block-rest": Decoder(read_rest, rest(), network, PACKED),
        "peer-address": Decoder(read_peer_address, (b"127.0.0.1:9080", b"[::1]:1", b"host:65535")),
        "stratum-request": Decoder(read_request, REQUESTS, shape="json"),
        "block-handed-in": Decoder(read_parts, handed_in()),
        "block-template": Decoder(read_template, (TEMPLATE,), shape="json"),
        "stratum-answer": Decoder(read_pool_line, ANSWERS, shape="json"),
        "rpc-call": Decoder(read_rpc_call, rpc_calls(), (RpcRefused,), "json"),
        "request-body": Decoder(read_request_body, request_bodies(), shape="json"),
        "json": Decoder(read_json, api_samples(), shape="json"),
        "json-item": Decoder(read_item, api_samples(), shape="json"),
        "json-array": Decoder(read_array, (b'[{"raw":"00"},{"raw":"0102"}]', b"[]"), shape="json"),
        "ndjson": Decoder(read_lines, (b"\n".join(api_samples()),), ()),
        "messagepack-stream": Decoder(
            read_stream, (raws[0], msgpack.packb(raws[0]), b"\x81\xa1a\x92\x01\xc0\xca\0\0\0\0")
        ),
        "log": Decoder(read_log(lossy=False), (SEGMENTS[-1], SEGMENTS[0]), (LogCorrupt,)),
        "log-lossy": Decoder(read_log(lossy=True), (SEGMENTS[-1], SEGMENTS[0]), ()),
        "vote-record": Decoder(
            lambda data: same(encode_record(decode_record(data)), data),
            (encode_record(vote), encode_record(proof)),
            shape=PACKED,
        ),
        "block-row": Decoder(rows(block_row), (encode((HASH, 1, 2, 3, 4)),), shape=PACKED),
        "tip-row": Decoder(rows(tip_row), (encode((1, HASH, HASH, 2, 3)),), shape=PACKED),
        "transaction-row": Decoder(
            rows(transaction_row),
            (PAID.encode(), TRADED.encode()),
            shape=PACKED,
        ),
        "outcome-row": Decoder(
            rows(outcome_row), (encode(("rejected", "", HASH, 1)),), shape=PACKED
        ),
        **MARKET_ROWS,
        "keystore": Decoder(read_keystore, (keystore(),), (KeystoreUnknown, KeystoreDamaged)),
        "invoice-file": Decoder(
            read_invoice, (msgspec.json.encode(INVOICE),), (InvoiceDamaged,), "json"
        ),
        "webhook-file": Decoder(read_webhook, (WEBHOOK.encode(),), (WebhookFileInvalid,), "json"),
        "config": Decoder(read_config, (documented, b'[api]\nhost = "a"\n'), (ConfigInvalid,)),
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
