"""The miner's end: it believes nothing, and makes the headers that the server makes."""

import json
from typing import Any

import pytest
from test_stratum import BRANCH, COINB1, COINB2, NONCE, NTIME, PREVHASH, VECTOR_HEADER, Client

from chaind.miner.stratum_client import LINE_BYTES_MAX, PoolClient, PoolFault, PoolRefusal

NOTIFY = ["1", PREVHASH, COINB1, COINB2, [BRANCH], "20000000", "1f00ffff", NTIME, True]


def line(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def told(method: str, *params: Any) -> bytes:
    return line(id=None, method=method, params=params)


@pytest.fixture
def client() -> PoolClient:
    client = PoolClient("chd1alice.rig", "x", "test/1")
    assert json.loads(client.hello())["method"] == "mining.subscribe"
    [answer] = client.feed(line(id=1, result=[[], "00000001", 4], error=None))
    assert json.loads(answer)["params"] == ["chd1alice.rig", "x"]
    assert client.feed(line(id=2, result=True, error=None)) == []
    assert client.joined
    return client


def test_the_header_of_the_vector(client: PoolClient) -> None:
    client.feed(told("mining.notify", *NOTIFY))
    assert client.job is not None
    prefix = client.prefix(client.job, bytes(4), client.job.time)
    assert (prefix + bytes.fromhex(NONCE)[::-1]).hex() == VECTOR_HEADER


def test_it_speaks_with_our_own_server() -> None:
    server, client = Client(), PoolClient("chd1alice.rig", "x", "test/1")
    lines = [client.hello()]
    while lines:
        for answer in server.session.feed(lines.pop(), 0.0):
            lines += client.feed(answer)
    assert client.joined
    assert server.session.ready


def test_difficulty_counts_from_the_next_job_on(client: PoolClient) -> None:
    client.feed(told("mining.notify", *NOTIFY))
    assert client.job is not None
    before = client.job.target
    client.feed(told("mining.set_difficulty", 2))
    assert client.job.target == before
    client.feed(told("mining.notify", "2", *NOTIFY[1:]))
    assert client.job.target == before // 2


def test_only_a_clean_job_ends_others(client: PoolClient) -> None:
    client.feed(told("mining.notify", *NOTIFY))
    client.feed(told("mining.notify", "2", *NOTIFY[1:-1], False))
    assert client.live == {"1", "2"}
    client.feed(told("mining.notify", "3", *NOTIFY[1:-1], True))
    assert client.live == {"3"}


def test_what_is_said_of_shares(client: PoolClient) -> None:
    client.feed(told("mining.notify", *NOTIFY))
    assert client.job is not None
    for answer in ((True, None), (None, [21, "gone", None]), (None, [23, "low\n", None])):
        share = json.loads(client.submit(client.job, bytes(4), 7, 8))
        assert share["params"] == ["chd1alice.rig", "1", "00000000", "00000007", "00000008"]
        client.feed(line(id=share["id"], result=answer[0], error=answer[1]))
    accepted, stale, low = client.verdicts
    assert (accepted.accepted, accepted.reason) == (True, "")
    assert (stale.accepted, stale.stale, stale.reason) == (False, True, "gone")
    assert (low.stale, low.reason) == (False, "low?")


def test_a_pool_that_does_not_know_the_address() -> None:
    client = PoolClient("nobody", "x", "test/1")
    client.hello()
    client.feed(line(id=1, result=[[], "00000001", 4], error=None))
    with pytest.raises(PoolRefusal) as caught:
        client.feed(line(id=2, result=None, error=[24, "no such address", None]))
    assert "no such address" in str(caught.value)


def changed(index: int, value: Any) -> bytes:
    params: list[Any] = list(NOTIFY)
    params[index] = value
    return told("mining.notify", *params)


FAULTS = {
    "no JSON": b"HTTP/1.1 400 Bad Request\r\n",
    "no UTF-8": b'{"id":"\xff"}',
    "a long line": b" " * (LINE_BYTES_MAX + 1),
    "a deep nest": b'{"params":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "an answer to nothing": line(id=77, result=True, error=None),
    "an id that is no number": line(id="1", result=True, error=None),
    "a difficulty of nothing": told("mining.set_difficulty", 0),
    "a difficulty that is a text": told("mining.set_difficulty", "1"),
    "a short notify": told("mining.notify", "1"),
    "a short parent": changed(1, "00"),
    "a coinbase that is no hex": changed(2, "0g"),
    "a coinbase beyond bounds": changed(3, "00" * 65_000 + "0" * 2_000),
    "a branch of numbers": changed(4, [1]),
    "a branch without an end": changed(4, [BRANCH] * 40),
    "a version of five bytes": changed(5, "0020000000"),
    "bits that are a number": changed(6, 5),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_breaks_the_protocol_ends_the_connection(client: PoolClient, name: str) -> None:
    with pytest.raises(PoolFault):
        client.feed(FAULTS[name])


def test_work_before_subscription_is_a_fault() -> None:
    client = PoolClient("a", "x", "test/1")
    client.hello()
    with pytest.raises(PoolFault):
        client.feed(told("mining.notify", *NOTIFY))


@pytest.mark.parametrize("result", [[], [[], "00", 0], [[], "0g", 4], [[], 5, 4], {"a": 1}, "x"])
def test_a_subscription_of_another_shape(result: Any) -> None:
    client = PoolClient("a", "x", "test/1")
    client.hello()
    with pytest.raises((PoolFault, PoolRefusal)):
        client.feed(line(id=1, result=result, error=None))


def test_extranonces_are_not_repeated(client: PoolClient) -> None:
    assert len({client.next_extranonce2() for _ in range(1_000)}) == 1_000
