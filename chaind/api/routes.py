"""The one table of routes: what is registered, guarded, aliased and described comes from here."""

from typing import Any

from chaind.api import (
    accounts,
    blocks,
    consensus,
    health,
    nodes,
    pages,
    search,
    statements,
)
from chaind.api.answers import HEX_ID, MSGPACK_MEDIA
from chaind.api.channels import TooManySockets
from chaind.api.forms import FieldInvalid
from chaind.api.guards import Access
from chaind.api.market_routes import MARKET_ROUTES
from chaind.api.mining_routes import MINING_ROUTES
from chaind.api.payment_routes import PAYMENT_ROUTES
from chaind.api.refusals import NAMES
from chaind.api.route import (
    CURSOR_DIGITS,
    SYMBOL,
    TEXT_MEDIA,
    TO_TRANSACTION,
    V1,
    WHO,
    Header,
    Parameter,
    Route,
    cursor,
    number,
    page,
    segment,
)
from chaind.api.websocket import WebSocketNeeded, get_ws
from chaind.network.peers import AddressInvalid as PeerAddressInvalid
from chaind.node import custody
from chaind.node.payments import CustodyDisabled
from chaind.node.statements import StatementTooFar
from chaind.primitives.genesis import Genesis
from chaind.storage.chain_store import BlockDamaged

_PAGE_HEADERS = (
    *(Header(name, value, (200, 304)) for name, value in pages.HEADERS.items()),
    Header("ETag", "Of the file; where If-None-Match has it, the answer is 304", (200, 304)),
    Header("Vary", "Accept", (200, 304)),
)
_FILE_MEDIA = {
    media: {"type": "string"} for media in (pages.HTML_MEDIA, pages.CSS_MEDIA, pages.ICON_MEDIA)
}

AT = Parameter(
    "at",
    "Of which state: final, or of the newest block. Without it, the head's on chains of miners",
    limits={"enum": [accounts.FINAL, accounts.HEAD]},
)

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/",
        nodes.get_root,
        "What answers here",
        {200: nodes.RootAnswer, 304: None},
        other_media={pages.HTML_MEDIA: {"type": "string"}},
        headers=_PAGE_HEADERS,
    ),
    Route(
        "GET",
        f"{V1}/status",
        nodes.get_status,
        "Where the node stands",
        {200: nodes.StatusAnswer},
        aliases=("/status",),
    ),
    Route(
        "GET",
        f"{V1}/stats",
        nodes.get_stats,
        "Counts and ages",
        {200: nodes.StatsAnswer},
        aliases=("/stats",),
    ),
    Route(
        "GET",
        f"{V1}/peers",
        nodes.get_peers,
        "Connected peers",
        {200: nodes.PeersAnswer},
        aliases=("/peers", "/getpeers"),
    ),
    Route(
        "POST",
        f"{V1}/peers",
        nodes.post_peer,
        "Dial a peer",
        {202: nodes.AddPeerAnswer},
        aliases=("/addpeer",),
        request=nodes.AddPeerRequest,
        examples={"a neighbour": {"peer": "127.0.0.1:9000"}},
        errors=(FieldInvalid, PeerAddressInvalid),
        access=Access.TOKEN,
    ),
    Route(
        "POST",
        f"{V1}/peers/discover",
        nodes.post_discover,
        "Connected peers; the node looks for more by itself",
        {200: nodes.PeersAnswer},
        aliases=("/discover_peers",),
    ),
    Route("GET", f"{V1}/genesis", nodes.get_genesis, "The genesis file", {200: Genesis}),
    Route(
        "GET",
        f"{V1}/validators",
        nodes.get_validators,
        "Who votes",
        {200: nodes.ValidatorsAnswer},
    ),
    Route(
        "GET",
        f"{V1}/search/{{text}}",
        search.get_search,
        "What a height, hash, transaction id, address or name leads to",
        {200: search.SearchAnswer},
        parameters=(segment("text", "What is looked for", "alice"),),
        errors=(BlockDamaged,),
    ),
    Route(
        "GET",
        f"{V1}/consensus",
        nodes.get_consensus,
        "The last views, vote by vote, and the block that is being filled",
        {200: consensus.ConsensusAnswer},
    ),
    Route(
        "GET", f"{V1}/assets", nodes.get_assets, "What can be paid in", {200: nodes.AssetsAnswer}
    ),
    Route(
        "GET",
        f"{V1}/blocks",
        blocks.get_chain,
        "Final blocks, ascending",
        {200: blocks.ChainPage},
        aliases=("/blockchain",),
        parameters=(page(blocks.PAGE, blocks.PAGE_MAX), cursor(2)),
        errors=(BlockDamaged,),
    ),
    Route(
        "GET",
        f"{V1}/blocks/headers",
        blocks.get_headers,
        "Headers of final blocks, ascending",
        {200: blocks.HeadersPage},
        aliases=("/blockchain/headers",),
        parameters=(page(blocks.PAGE_MAX, blocks.PAGE_MAX), cursor(2)),
        errors=(BlockDamaged,),
    ),
    Route(
        "GET",
        f"{V1}/blocks/range",
        blocks.get_range,
        "Final blocks of a range of heights",
        {200: blocks.RangePage},
        aliases=("/blocks/range",),
        parameters=(
            number("start", "First height", 0, blocks.HEIGHT_MAX, default=0),
            number("end", "Last height, by default the newest", 0, blocks.HEIGHT_MAX),
        ),
        errors=(blocks.RangeInvalid, BlockDamaged),
    ),
    Route(
        "GET",
        f"{V1}/blocks/raw",
        blocks.get_raw,
        "Final blocks as they are hashed, with a certificate of the last: [start, [block…], proof]",
        {200: None},
        parameters=(
            number("start", "First height", 1, blocks.HEIGHT_MAX, default=1),
            page(blocks.RAW_PAGE_MAX, blocks.RAW_PAGE_MAX),
        ),
        errors=(BlockDamaged,),
        answer_media=MSGPACK_MEDIA,
    ),
    Route(
        "GET",
        f"{V1}/blocks/{{ref}}",
        blocks.get_block,
        "A final block by height, hash or latest, with a page of its transactions",
        {200: blocks.BlockAnswer},
        aliases=("/block/{ref}",),
        parameters=(
            segment(
                "ref",
                "A height, a block hash as it is shown, or latest",
                "latest",
                f"^(latest|{CURSOR_DIGITS}|[0-9a-fA-F]{{64}})$",
            ),
            page(blocks.TRANSACTIONS_PAGE, blocks.TRANSACTIONS_PAGE_MAX),
            cursor(1),
        ),
        errors=(blocks.BlockRefInvalid, blocks.BlockUnknown, BlockDamaged),
    ),
    Route(
        "GET",
        f"{V1}/accounts",
        accounts.get_named,
        "Accounts whose keys this node keeps",
        {200: accounts.NamedAccounts},
        aliases=(f"{V1}/custody/accounts",),
    ),
    Route(
        "POST",
        f"{V1}/custody/accounts",
        accounts.post_named,
        "Name an account whose key this node keeps; a name it has already is answered again",
        {200: accounts.NamedAccount, 201: accounts.NamedAccount},
        request=accounts.NameRequest,
        examples={"a till": {"name": "till"}},
        errors=(
            CustodyDisabled,
            custody.AccountNameRefused,
            custody.AccountNameTaken,
            custody.AccountsFull,
        ),
        access=Access.DEVELOPMENT,
    ),
    Route(
        "GET",
        f"{V1}/accounts/{{who}}",
        accounts.get_balance,
        "Holdings of an address or named account",
        {200: accounts.BalanceAnswer},
        aliases=("/balance/{who}",),
        parameters=(WHO, AT),
        errors=NAMES,
    ),
    Route(
        "GET",
        f"{V1}/accounts/{{who}}/coins",
        accounts.get_coins,
        "Unspent coins",
        {200: accounts.CoinsPage},
        aliases=("/utxos/{who}",),
        parameters=(
            WHO,
            page(accounts.COINS_PAGE, accounts.COINS_PAGE_MAX),
            Parameter(
                "cursor",
                "next_cursor of the page before",
                limits={"pattern": r"^[0-9a-fA-F]{64}\.[0-9]{1,10}$"},
            ),
            AT,
        ),
        errors=NAMES,
    ),
    Route(
        "GET",
        f"{V1}/accounts/{{who}}/transactions",
        accounts.get_history,
        "History, newest first",
        {200: accounts.HistoryPage},
        aliases=("/transactions/{who}",),
        parameters=(WHO, page(accounts.HISTORY_PAGE, accounts.HISTORY_PAGE_MAX), cursor(2)),
        errors=NAMES,
    ),
    Route(
        "GET",
        f"{V1}/accounts/{{who}}/statement",
        statements.get_statement,
        "Opening balance, entries, closing balance; as JSON, or as CSV where that is asked for",
        {200: statements.StatementAnswer},
        parameters=(
            WHO,
            Parameter("asset", "By its symbol, the chain's own by default", limits=SYMBOL),
            number("from_height", "First block", 0, statements.HEIGHT_MAX, default=0),
            number("to_height", "Last block, by default the newest", 0, statements.HEIGHT_MAX),
            number(
                "from_ms", "Blocks of this time and later, since 1970", 0, statements.HEIGHT_MAX
            ),
            number("to_ms", "Blocks before this time, since 1970", 0, statements.HEIGHT_MAX),
            Parameter("format", "As Accept says by default", limits={"enum": ["json", "csv"]}),
            page(statements.PAGE, statements.PAGE_MAX),
            cursor(3),
        ),
        errors=(*NAMES, StatementTooFar, blocks.RangeInvalid),
        other_media={statements.CSV_MEDIA: {"type": "string"}},
        headers=(
            Header("Content-Disposition", "The name of the file, where it is CSV"),
            Header("Link", "The next page of CSV, rel=next, where there is one"),
        ),
    ),
    Route(
        "GET",
        f"{V1}/accounts/{{who}}/leases/{{id}}",
        accounts.get_lease,
        "The payment that a key of this payer stands for; id is sha256 of the Idempotency-Key",
        {200: accounts.LeaseAnswer},
        parameters=(WHO, segment("id", "sha256 of the Idempotency-Key", "0" * 64, HEX_ID)),
        errors=(*NAMES, accounts.LeaseIdInvalid, accounts.LeaseFree),
        follows=TO_TRANSACTION,
    ),
    *PAYMENT_ROUTES,
    *MARKET_ROUTES,
    *MINING_ROUTES,
    Route("GET", "/health/live", health.get_live, "The process answers", {200: health.LiveAnswer}),
    Route(
        "GET",
        "/health/ready",
        health.get_ready,
        "Whether the node can be relied on",
        {200: health.ReadyAnswer, 503: health.ReadyAnswer},
        aliases=("/healthcheck",),
    ),
    Route(
        "GET",
        "/metrics",
        health.get_metrics,
        "Prometheus metrics",
        {200: str},
        answer_media=TEXT_MEDIA,
    ),
    Route("GET", "/openapi.json", nodes.get_openapi, "This description", {200: dict[str, Any]}),
    Route(
        "GET",
        "/docs",
        nodes.get_docs,
        "This description as a page, to read and to try",
        {200: str, 304: None},
        aliases=("/docs/",),
        answer_media=pages.HTML_MEDIA,
        headers=_PAGE_HEADERS,
    ),
    Route(
        "GET",
        "/docs/{file}",
        nodes.get_docs_file,
        "A file of that page",
        {200: str, 304: None},
        parameters=(segment("file", "Its name", "docs.js"),),
        errors=(pages.PageUnknown,),
        answer_media=pages.SCRIPT_MEDIA,
        other_media=_FILE_MEDIA,
        headers=_PAGE_HEADERS,
    ),
    Route(
        "GET",
        "/dashboard/{file}",
        nodes.get_page,
        "A file of the dashboard, which / is for a browser",
        {200: str, 304: None},
        parameters=(segment("file", "Its name", "app.js"),),
        errors=(pages.PageUnknown,),
        answer_media=pages.SCRIPT_MEDIA,
        other_media=_FILE_MEDIA,
        headers=_PAGE_HEADERS,
    ),
    Route(
        "GET",
        "/ws",
        get_ws,
        "WebSocket: blocks, transactions, accounts, votes and markets, live",
        {101: None},
        errors=(WebSocketNeeded, TooManySockets),
    ),
)
