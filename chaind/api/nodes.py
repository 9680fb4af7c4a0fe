"""Routes about the node itself, its chain's fixed values, and its peers."""

import msgspec
from aiohttp import web

from chaind import __version__
from chaind.api.answers import (
    JSON_MEDIA,
    Answer,
    CertificateForm,
    certificate_form,
    respond,
)
from chaind.api.bodies import read_json
from chaind.api.consensus import consensus_answer
from chaind.api.context import Api
from chaind.api.forms import FieldInvalid, maybe
from chaind.api.guards import check_media
from chaind.api.pages import INDEX, respond_page, wants_page
from chaind.network.peers import parse_address
from chaind.primitives.amounts import format_amount
from chaind.primitives.hashes import display_hash

LINKS = {
    "status": "/status",
    "blocks": "/blockchain",
    "pending": "/pending",
    "peers": "/peers",
    "live": "/ws",
    "health": "/health/ready",
    "metrics": "/metrics",
    "routes": "/openapi.json",
    "docs": "/docs",
}


class RootAnswer(Answer, frozen=True):
    """What answers here, and where to go on."""

    name: str
    version: str
    chain: str
    chain_id: str
    height: int
    links: dict[str, str]


class StatusAnswer(Answer, frozen=True, kw_only=True):
    """Where the node stands. `height`, `hash` and `time_ms` are of the last final block.

    `chain_id` is the genesis hash as signatures use it, `genesis_hash` the same as block hashes
    are shown, `chain_prefix` what every transaction names. `blockchain_length` counts block 0.
    `chain_time_ms` is what the `valid_until` of a transaction is measured by. `reorgs_refused`
    counts branches that left the chain below what is final here, `reorg_refused` is the last one.
    `hashes_per_second` is what this node and the miners that it serves do together.
    """

    name: str
    version: str
    chain: str
    chain_id: str
    chain_prefix: str
    genesis_hash: str
    mode: str
    dev: bool
    native_symbol: str
    height: int
    final_height: int
    head_height: int
    head_hash: str
    blockchain_length: int
    hash: str
    time_ms: int
    chain_time_ms: int
    view: int
    validators: int
    validator_index: int | None
    peers: int
    active_peers: int
    pending: int
    syncing: bool
    hashes_per_second: float
    certificate: CertificateForm | None
    reorgs_refused: int
    reorg_refused: str | None


class StatsAnswer(Answer, frozen=True, kw_only=True):
    """Counts since this node started, and what is there now. `supply` is per asset."""

    height: int
    blockchain_length: int
    blocks_total: int
    transactions_total: int
    accepted_total: int
    refused_total: int
    pending: int
    pending_bytes: int
    peers: int
    active_peers: int
    uptime_ms: int
    finality_age_ms: int
    loop_lag_ms: float
    supply: dict[str, str]


class PeerForm(Answer, frozen=True):
    """A connected peer. `score` counts faults: it halves in 10 minutes, and 100 is a ban."""

    node_id: str
    address: str
    inbound: bool
    latency_ms: float | None
    height: int
    agent: str
    validator_index: int | None
    score: float
    connected_ms: float


class PeersAnswer(Answer, frozen=True):
    """Connected peers; `active_peers` are their addresses."""

    peers: list[PeerForm]
    active_peers: list[str]
    count: int


class AddPeerRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to dial: `peer` as "HOST:PORT", or `host` and `port`."""

    peer: str | None = None
    host: str | None = None
    port: int | None = None


class AddPeerAnswer(Answer, frozen=True):
    """The node dials; whether it gets through is seen in the list of peers."""

    status: str
    peer: str


class ValidatorForm(Answer, frozen=True):
    """A voter."""

    index: int
    name: str
    public_key: str
    address: str
    weight: int


class ValidatorsAnswer(Answer, frozen=True):
    """The voters, by the index that certificates name."""

    validators: list[ValidatorForm]


class AssetForm(Answer, frozen=True):
    """An asset. The native one has no issuer."""

    symbol: str
    issuer: str | None
    mintable: bool
    supply: str


class AssetsAnswer(Answer, frozen=True):
    """All assets, the native one first."""

    assets: list[AssetForm]


async def get_root(api: Api, request: web.Request) -> web.Response:
    """The dashboard for a browser, a sign at the door for everybody else."""
    if wants_page(request):
        return respond_page(api.pages, request, INDEX)
    status = api.node.vitals.status()
    return respond(
        RootAnswer("chaind", __version__, status.name, status.chain_id, status.height, LINKS),
        headers={"Vary": "Accept"},
    )


async def get_status(api: Api, _request: web.Request) -> web.Response:
    """Where the node stands."""
    status, genesis = api.node.vitals.status(), api.node.genesis
    newest, mining = api.node.queries.tip_certificate(), api.node.mining
    return respond(
        StatusAnswer(
            name=api.node.config.node.name,
            version=status.version,
            chain=status.name,
            chain_id=status.chain_id,
            chain_prefix=genesis.chain_prefix.hex(),
            genesis_hash=display_hash(genesis.hash),
            mode=status.mode,
            dev=status.dev,
            native_symbol=genesis.native_symbol,
            height=status.height,
            final_height=status.height,
            head_height=status.head_height,
            head_hash=status.head_hash,
            blockchain_length=status.height + 1,
            hash=status.hash,
            time_ms=status.time_ms,
            chain_time_ms=status.chain_time_ms,
            view=status.view,
            validators=status.validators,
            validator_index=status.validator_index,
            peers=status.peers,
            active_peers=status.peers,
            pending=status.pending,
            syncing=status.syncing,
            hashes_per_second=0.0 if mining is None else mining.hashes_per_second(),
            certificate=newest and certificate_form(*newest),
            reorgs_refused=status.reorgs_refused,
            reorg_refused=status.reorg_refused,
        )
    )


async def get_stats(api: Api, _request: web.Request) -> web.Response:
    """Counts and ages."""
    node = api.node
    height, peers = node.chain.final.height, len(node.queries.peers())
    return respond(
        StatsAnswer(
            height=height,
            blockchain_length=height + 1,
            blocks_total=node.finality.blocks_total,
            transactions_total=node.finality.transactions_total,
            accepted_total=node.intake.accepted_total,
            refused_total=node.intake.refused_total,
            pending=node.queries.pending_count,
            pending_bytes=node.pool.bytes_total,
            peers=peers,
            active_peers=peers,
            uptime_ms=int(node.vitals.uptime_ms()),
            finality_age_ms=int(node.vitals.final_age_ms()),
            loop_lag_ms=node.loop_lag_ms,
            supply={asset.symbol: format_amount(asset.supply) for asset in node.queries.assets()},
        )
    )


async def get_peers(api: Api, _request: web.Request) -> web.Response:
    """Who is connected."""
    return respond(_peers(api))


async def post_discover(api: Api, _request: web.Request) -> web.Response:
    """Who is connected: peers tell each other of more all the time, without being asked to."""
    return respond(_peers(api))


def _peers(api: Api) -> PeersAnswer:
    peers = [PeerForm(*peer) for peer in api.node.queries.peers()]
    return PeersAnswer(peers, [peer.address for peer in peers], len(peers))


async def post_peer(api: Api, request: web.Request) -> web.Response:
    """Dial a peer now."""
    check_media(request, (JSON_MEDIA,))
    form = await read_json(request, api.section.body_bytes_max, AddPeerRequest)
    address = parse_address(_peer_text(form))
    api.node.add_peer(address.host, address.port)
    return respond(AddPeerAnswer("dialling", str(address)), 202)


def _peer_text(form: AddPeerRequest) -> str:
    if form.peer is not None and form.host is None and form.port is None:
        return form.peer
    if form.peer is None and form.host is not None and form.port is not None:
        host = f"[{form.host}]" if ":" in form.host else form.host
        return f"{host}:{form.port}"
    raise FieldInvalid(field="peer", reason='give peer as "HOST:PORT", or host and port')


async def get_validators(api: Api, _request: web.Request) -> web.Response:
    """Who votes: what a certificate is checked against."""
    voters = [
        ValidatorForm(
            index, voter.name, voter.public_key, api.forms.show(voter.address), voter.weight
        )
        for index, voter in enumerate(api.node.genesis.validators)
    ]
    return respond(ValidatorsAnswer(voters))


async def get_consensus(api: Api, _request: web.Request) -> web.Response:
    """The last views, the validators, the next block."""
    return respond(consensus_answer(api.node))


async def get_assets(api: Api, _request: web.Request) -> web.Response:
    """What can be paid in."""
    assets = [
        AssetForm(
            asset.symbol,
            maybe(api.forms.show, asset.issuer),
            asset.mintable,
            format_amount(asset.supply),
        )
        for asset in api.node.queries.assets()
    ]
    return respond(AssetsAnswer(assets))


async def get_genesis(api: Api, _request: web.Request) -> web.Response:
    """The chain's genesis file, to join it with."""
    return web.Response(body=api.node.genesis.to_json(), content_type=JSON_MEDIA)


async def get_openapi(api: Api, _request: web.Request) -> web.Response:
    """This API, described."""
    return web.Response(body=api.document, content_type=JSON_MEDIA)


async def get_docs(api: Api, request: web.Request) -> web.Response:
    """For people: search, fields, error codes in words, and a form that sends requests."""
    return respond_page(api.docs, request, INDEX)


async def get_docs_file(api: Api, request: web.Request) -> web.Response:
    """What that page is made of."""
    return respond_page(api.docs, request, request.match_info["file"])


async def get_page(api: Api, request: web.Request) -> web.Response:
    """A file that the dashboard is made of."""
    return respond_page(api.pages, request, request.match_info["file"])
