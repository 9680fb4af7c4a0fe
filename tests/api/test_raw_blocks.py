"""Blocks as they are hashed, over HTTP: with their proof, or not at all."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from api_kit import Door, make_genesis, start_node

from chaind.api.app import ApiServer
from chaind.node.config import ApiSection
from chaind.primitives.block import Block
from chaind.primitives.votes import CertificateKind, certificate_decoder
from chaind.storage.errors import StoreCorrupt

RAW = "/api/v1/blocks/raw"


async def page(door: Door, query: str) -> tuple[int, list[bytes], bytes | None]:
    async with door.session.get(RAW + query) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "application/msgpack"
        start, raws, proof = msgspec.msgpack.decode(await answer.read())
        return start, raws, None if proof is None else msgspec.msgpack.encode(proof)


async def pay(door: Door, count: int) -> None:
    for number in range(count):
        body = {"raw": door.payment(number=number).raw.hex()}
        await door.post("/add_transaction?wait=final", body)


async def test_raw_blocks_come_with_the_proof_of_the_last(door: Door) -> None:
    await pay(door, 3)
    start, raws, proof = await page(door, "?start=2&limit=2")
    assert start == 2
    blocks = [Block.decode(raw) for raw in raws]
    assert [block.height for block in blocks] == [2, 3]
    assert blocks[1].parent == blocks[0].hash
    assert proof is not None
    certificate = certificate_decoder.decode(proof)
    assert certificate.block == blocks[1].hash
    assert certificate.kind in (CertificateKind.FINAL, CertificateKind.FAST)
    door.node.engine._checker.check_certificate(certificate)
    assert (await page(door, ""))[0] == 1
    assert (await page(door, "?start=999"))[1:] == ([], None)


async def test_a_page_that_cannot_be_is_refused(door: Door) -> None:
    for query in ("?start=0", "?limit=0", "?limit=513", "?start=x"):
        assert (await door.get(RAW + query, 400))["code"] == "query-invalid"


async def test_a_damaged_block_is_a_clear_problem_and_no_other_suffers(door: Door) -> None:
    await pay(door, 2)
    store: Any = door.node._disk.store
    row = store.block_row(1)
    moved = msgspec.structs.replace(row, offset=row.offset + 1)
    store._database.write([(b"H" + (1).to_bytes(8, "big"), moved.encode())], sync=True)
    store._decoded.clear()
    for path in (RAW, "/block/1"):
        problem = await door.get(path, 503)
        assert problem["code"] == "block-damaged"
        assert "block 1" in problem["detail"]
    assert (await door.get("/block/2"))["height"] == 2


async def test_damage_found_while_answering_ends_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_address: bytes, *, at_head: bool | None) -> None:
        raise StoreCorrupt(path="db", reason="told to be damaged")

    node, running = await start_node(tmp_path, make_genesis(), ApiSection(api_port=0))
    monkeypatch.setattr(node.queries, "balance", damaged)
    server = ApiServer(node)
    await server.start()
    async with Door(node, server, tmp_path, running) as door:
        answer = await door.get("/balance/alice", 500)
        assert "damaged" not in str(answer), "what is wrong with this machine is not the client's"
    await asyncio.wait((running,), timeout=10)
    await server.stop()
    failure = running.exception()
    assert isinstance(failure, ExceptionGroup)
    assert failure.subgroup(StoreCorrupt)
