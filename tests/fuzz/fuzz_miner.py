"""Readers of what miners and pools say."""

import json

from chaind.miner.jobs import Template
from chaind.miner.stratum import LINE_BYTES_MAX, Session, Share
from chaind.miner.stratum_client import PoolClient
from chaind.miner.vardiff import DIFFICULTY_MAX, DIFFICULTY_MIN, Vardiff

NAME = "chd1miner.rig"
TIME = 1_800_000_000
TEMPLATE = Template(
    id="1",
    height=1,
    version=0x20000000,
    parent=bytes(range(32)),
    bits=0x207FFFFF,
    time=TIME,
    time_min=TIME,
    time_max=TIME + 600,
    coinbase_head=bytes(60),
    coinbase_tail=bytes(60),
    branch=(bytes(32),),
)
SUBSCRIBE = b'{"id":1,"method":"mining.subscribe","params":["fuzz"]}'
AUTHORIZE = b'{"id":2,"method":"mining.authorize","params":["chd1miner.rig","x"]}'
NOTIFY = json.dumps(
    {
        "id": None,
        "method": "mining.notify",
        "params": ["1", "00" * 32, "00" * 9, "00", ["00" * 32], "20000000", "1f00ffff", "6b", True],
    }
).encode()
REQUESTS = (
    SUBSCRIBE,
    AUTHORIZE,
    b'{"id":3,"method":"mining.submit","params":["chd1miner.rig","1","00000000","6b49d200","0"]}',
    b'{"id":4,"method":"mining.suggest_difficulty","params":[0.5]}',
    b'{"id":5,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":'
    b'"1fffe000"}]}',
)
ANSWERS = (
    NOTIFY.replace(b'"6b"', b'"6b000000"'),
    b'{"id":null,"method":"mining.set_difficulty","params":[1.5]}',
    b'{"id":2,"result":null,"error":[24,"no",null]}',
    b'{"id":3,"result":true,"error":null}',
)


def read_request(data: bytes) -> None:
    """A miner's line, at a session that has given it work: one answer, and honest shares only."""
    shares: list[Share] = []
    vardiff = Vardiff(0.0)
    session = Session(
        extranonce1=bytes(4),
        payee_of=lambda name: b"payee" if name == NAME else None,
        on_share=shares.append,
        vardiff=vardiff,
    )
    session.feed(SUBSCRIBE, 0.0)
    session.feed(AUTHORIZE, 0.0)
    session.send(TEMPLATE, 0.0)
    [answer] = session.feed(data, 1.0)
    told = json.loads(answer)
    assert answer.endswith(b"\n")
    assert len(answer) <= 2 * LINE_BYTES_MAX
    assert (told["result"] is None) != (told["error"] is None)
    assert DIFFICULTY_MIN <= vardiff.difficulty <= DIFFICULTY_MAX
    assert all(share.worker == NAME for share in shares)


def read_pool_line(data: bytes) -> None:
    """A pool's line, at a client that has joined and submitted."""
    client = PoolClient(NAME, "x", "fuzz")
    client.hello()
    client.feed(b'{"id":1,"result":[[],"00000001",4],"error":null}')
    client.feed(ANSWERS[0])
    assert client.job is not None
    client.submit(client.job, bytes(4), 0, 0)
    client.feed(data)
    assert client.job.target > 0
    assert len(client.prefix(client.job, client.next_extranonce2(), client.job.time)) == 76
