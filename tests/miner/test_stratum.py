"""Stratum as miners speak it; what is wrong gets its code and changes nothing."""

import json
from itertools import count
from typing import Any

import pytest

from chaind.miner import stratum as stratum_module
from chaind.miner.jobs import Template, share_target
from chaind.miner.stratum import LINE_BYTES_MAX, MinerFault, Session, Share
from chaind.miner.vardiff import DIFFICULTY_MIN, Vardiff
from chaind.primitives.hashes import sha256d

# The vector of the design: a share that a real miner found for this job.
VECTOR_HEADER = (
    "0000002032a72a8043f4ce5c962994ae137d350a0bff3032e9719e2923638cbc6abfcc9f7966320f123155d5"
    "fc4fc4cbbe864e4c933939c1f251f52f64b2bb6d872f35200025006bffff001f000027e2"
)
VECTOR_HASH = "0000f4f52bd4a04eccae62611aef98e122e7058208e2c15c7386d45d38643d5a"
PREVHASH = "802aa7325ccef443ae9429960a357d133230ff0b299e71e9bc8c63239fccbf6a"
COINB1 = (
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff1502e90308"
)
COINB2 = (
    "082f636861696e642fffffffff0200f2052a010000001976a914111111111111111111111111111111"
    "111111111188ac00000000000000002a6a284348443100000000192dad0df56671b9ddef0b77d5c15a31b2"
    "097675831d1e23af753e84f361f00800000000"
)
BRANCH = "71aa817e52cee92baa8dd19d7ea3bc83817d0d879a709cfc2a85de9e79200eb1"
NTIME, NONCE = "6b002500", "e2270000"
PAYEE = bytes(20)
NAME = "chd1alice.rig"


def template(number: int = 1, *, tip: int = 0, bits: int = 0x1F00FFFF) -> Template:
    """Work on the tip of the known header; another `tip` stands on something else."""
    words = [PREVHASH[at : at + 8] for at in range(0, 64, 8)]
    return Template(
        id=f"{number:x}",
        height=1001,
        version=0x20000000,
        parent=sha256d(bytes([tip]))
        if tip
        else b"".join(bytes.fromhex(word)[::-1] for word in words),
        bits=bits,
        time=int(NTIME, 16),
        time_min=int(NTIME, 16) - 100,
        time_max=int(NTIME, 16) + 7200,
        coinbase_head=bytes.fromhex(COINB1),
        coinbase_tail=bytes.fromhex(COINB2),
        branch=(bytes.fromhex(BRANCH),),
    )


class Client:
    """Speaks to a session as a miner does."""

    def __init__(self) -> None:
        self.shares: list[Share] = []
        self.vardiff = Vardiff(0.0)
        self.session = Session(
            extranonce1=bytes.fromhex("00000001"),
            payee_of=lambda name: PAYEE if name.startswith("chd1alice") else None,
            on_share=self.shares.append,
            vardiff=self.vardiff,
        )
        self.numbers = count(1)

    def ask(self, method: str, *params: Any, now_s: float = 1.0) -> Any:
        number = next(self.numbers)
        line = json.dumps({"id": number, "method": method, "params": params}).encode()
        [answer] = self.session.feed(line, now_s)
        assert answer.endswith(b"\n")
        told = json.loads(answer)
        assert told["id"] == number
        return told["result"] if told["error"] is None else told["error"]

    def join(self) -> "Client":
        assert self.ask("mining.subscribe", "test/1")[1:] == ["00000001", 4]
        assert self.ask("mining.authorize", NAME, "x") is True
        return self

    def work(self, given: Template, now_s: float = 1.0) -> list[Any]:
        return [json.loads(line) for line in self.session.send(given, now_s)]

    def submit(
        self,
        job: str = "1",
        *,
        name: str = NAME,
        extranonce2: str = "00000000",
        ntime: str = NTIME,
        nonce: str = NONCE,
        more: tuple[Any, ...] = (),
    ) -> Any:
        return self.ask("mining.submit", name, job, extranonce2, ntime, nonce, *more)


@pytest.fixture
def client() -> Client:
    return Client().join()


def test_the_vector_of_a_real_share(client: Client) -> None:
    notice = client.work(template())[-1]
    assert notice["params"] == [
        "1", PREVHASH, COINB1, COINB2, [BRANCH], "20000000", "1f00ffff", NTIME, True,
    ]  # fmt: skip
    assert client.submit() is True
    [share] = client.shares
    assert share.header.hex() == VECTOR_HEADER
    assert sha256d(share.header)[::-1].hex() == VECTOR_HASH
    assert share.is_block
    assert share.worker == NAME


def test_the_difficulty_goes_before_the_job_and_only_where_it_changes(client: Client) -> None:
    first = client.work(template(1))
    assert [line["method"] for line in first] == ["mining.set_difficulty", "mining.notify"]
    assert [line["method"] for line in client.work(template(2))] == ["mining.notify"]
    client.ask("mining.suggest_difficulty", 2.0**-19)
    again = client.work(template(3))
    assert again[0]["params"] == [2.0**-19]


def test_a_share_is_never_harder_than_the_block(client: Client) -> None:
    """Or miners would keep to themselves what makes a block."""
    client.ask("mining.suggest_difficulty", 1e6)
    [difficulty] = client.work(template())[0]["params"]
    assert difficulty < 1e6
    assert share_target(difficulty) >= template().target
    assert client.submit() is True


def test_blocks_that_are_far_too_easy_do_not_flood(client: Client) -> None:
    """Ten a second are enough of one miner; it is told by what it sent, not by what it says."""
    easy = 0x207FFFFF
    assert client.work(template(1, bits=easy))[0]["params"][0] < DIFFICULTY_MIN / 64
    now_s = 1.0
    for _ in range(100):
        now_s += 0.002
        client.vardiff.share(client.vardiff.difficulty, now_s)
    [difficulty] = client.work(template(2, bits=easy), now_s)[0]["params"]
    assert difficulty == client.vardiff.difficulty / 40


def mined(given: Template, difficulty: float) -> str:
    """A nonce whose share is of this difficulty, and of none that is 64 times as hard."""
    low, high = share_target(difficulty * 64), share_target(difficulty)
    time = int(NTIME, 16)
    for nonce in count():
        header = given.header(
            extranonce=bytes.fromhex("0000000100000000"),
            time=time,
            nonce=nonce,
            version=given.version,
        )
        if low < int.from_bytes(sha256d(header), "little") <= high:
            return f"{nonce:08x}"
    raise AssertionError


def test_a_job_keeps_the_difficulty_that_it_was_given_with(client: Client) -> None:
    easy, hard = template(1, bits=0x1D00FFFF), template(2, bits=0x1D00FFFF)
    nonce = mined(easy, DIFFICULTY_MIN)
    client.ask("mining.suggest_difficulty", DIFFICULTY_MIN)
    client.work(easy)
    client.ask("mining.suggest_difficulty", DIFFICULTY_MIN * 64)
    client.work(hard)
    assert client.submit("2", nonce=nonce)[0] == 23
    assert client.submit("1", nonce=nonce) is True
    [share] = client.shares
    assert not share.is_block
    assert share.hashes == pytest.approx(4096, rel=1e-3)


CASES = {
    "another job": ({"job": "7"}, 21),
    "a name nobody authorised": ({"name": "chd1alice.other"}, 24),
    "another nonce": ({"nonce": "e2270001"}, 23),
    "a long nonce": ({"nonce": "0e2270000"}, 20),
    "no nonce": ({"nonce": ""}, 20),
    "a nonce that is no number": ({"nonce": "0xe22700"}, 20),
    "a short extranonce2": ({"extranonce2": "000000"}, 20),
    "an extranonce2 of other signs": ({"extranonce2": "0000000g"}, 20),
    "too early": ({"ntime": "6b002400"}, 20),
    "too late": ({"ntime": "6b006500"}, 20),
    "version bits not agreed on": ({"more": ("00002000",)}, 20),
    "too many params": ({"more": ("00000000", "1")}, 20),
    "a param that is no text": ({"more": (5,)}, 20),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_shares_have_their_code_and_count_for_nothing(client: Client, name: str) -> None:
    given, code = CASES[name]
    client.work(template())
    assert client.submit(**given)[0] == code
    assert client.shares == []
    assert client.session.accepted == 0
    assert client.submit() is True


def test_a_share_counts_once(client: Client) -> None:
    client.work(template())
    assert client.submit() is True
    assert client.submit()[0] == 22
    assert client.submit(nonce=NONCE.upper())[0] == 22
    assert len(client.shares) == 1


def test_work_on_another_tip_ends_the_others(client: Client) -> None:
    assert client.work(template(1))[-1]["params"][-1] is True
    assert client.work(template(2))[-1]["params"][-1] is False
    assert client.submit("1") is True
    assert client.work(template(3, tip=1))[-1]["params"][-1] is True
    assert client.submit("2") == [21, "job not found: the block below has changed", None]
    assert client.submit("9") == [21, "job not found: it is not known here", None]


def test_jobs_in_memory_are_bounded(client: Client) -> None:
    for number in range(1, 60):
        client.work(template(number))
    assert len(client.session._jobs) == stratum_module.JOBS_MAX
    assert client.submit(f"{59:x}") is True
    assert client.submit("1")[0] == 21


def test_before_subscription_nothing_is_submitted() -> None:
    client = Client()
    assert client.submit()[0] == 25
    client.ask("mining.authorize", NAME, "x")
    assert not client.session.ready


def test_names_stand_for_one_address() -> None:
    client = Client()
    client.session._payee_of = lambda name: name.split(".")[0].encode() or None
    client.ask("mining.subscribe")
    assert client.ask("mining.authorize", "", "x")[0] == 24
    assert client.ask("mining.authorize", 7, "x")[0] == 20
    assert client.ask("mining.authorize", "one.a", "x") is True
    assert client.ask("mining.authorize", "one.b", "x") is True
    assert client.ask("mining.authorize", "two.a", "x")[0] == 24
    assert client.session.payee == b"one"


def test_version_rolling_within_the_agreed_mask(client: Client) -> None:
    told = client.ask(
        "mining.configure",
        ["version-rolling", "subscribe-extranonce"],
        {"version-rolling.mask": "00ffe000", "version-rolling.min-bit-count": 2},
    )
    assert told == {
        "version-rolling": True,
        "version-rolling.mask": "00ffe000",
        "subscribe-extranonce": False,
    }
    client.work(template())
    assert client.submit(more=("1f000000",))[0] == 20
    assert client.submit(more=("00000000",)) is True
    assert client.submit(more=("00002000",))[0] == 23, "another header: its hash is another"


@pytest.mark.parametrize("value", [0, -1, "1", None, True])
def test_difficulties_that_are_none(client: Client, value: Any) -> None:
    assert client.ask("mining.suggest_difficulty", value)[0] == 20


@pytest.mark.parametrize("method", ["mining.extranonce.subscribe", "mining.get_transactions", "x"])
def test_what_is_not_served_is_refused_in_words(client: Client, method: str) -> None:
    assert client.ask(method)[0] == 20


BROKEN = [
    b"", b"{", b"[]", b"null", b"\xff", b'{"id":1}', b'{"id":[1],"method":"mining.subscribe"}',
    b'{"id":1,"method":7}', b" " * (LINE_BYTES_MAX + 1), b'{"id":{"a":1},"method":"x"}',
    b'{"method":"x","params":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
]  # fmt: skip


@pytest.mark.parametrize("line", BROKEN, ids=lambda line: repr(line[:30]))
def test_lines_that_are_no_requests_end_the_connection(client: Client, line: bytes) -> None:
    with pytest.raises(MinerFault):
        client.session.feed(line, 1.0)


def test_params_that_are_no_list_are_refused(client: Client) -> None:
    [answer] = client.session.feed(b'{"id":1,"method":"mining.submit","params":{"a":1}}', 1.0)
    assert json.loads(answer)["error"][0] == 20


def test_a_miner_whose_every_share_is_refused_is_cut(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stratum_module, "REFUSED_MAX", 3)
    client.work(template())
    for _ in range(3):
        client.submit("9")
    with pytest.raises(MinerFault):
        client.submit("9")
    assert sum(client.session.refused.values()) == 4
