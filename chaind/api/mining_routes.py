"""Rows of the route table about mining over plain HTTP."""

from chaind.api import mining, mining_view, rpc
from chaind.api.problems import CredentialsNeeded
from chaind.api.refusals import NAMES
from chaind.api.route import V1, Header, Parameter, Route, number
from chaind.consensus.pow import errors as headers
from chaind.consensus.pow.tree_errors import ParentInvalid, ReorgTooDeep
from chaind.ledger.errors import BlockInvalid, BlockTransactionInvalid, RootMismatch
from chaind.node.gbt import BlockKnown, ClockTooSlow, HeadersMissing, NoPeers
from chaind.node.template_book import BlockStale, HeaderForeign, TemplateUnknown
from chaind.node.work_errors import ParentUnknown, TransactionsRefused

MINING_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        f"{V1}/mining",
        mining_view.get_mining,
        "The next block to be mined, and who works on it",
        {200: mining_view.MiningAnswer},
        errors=(mining.NotMined,),
    ),
    Route(
        "GET",
        f"{V1}/mining/workers",
        mining_view.get_workers,
        "Who mines through this node: rates and shares by name",
        {200: mining_view.WorkersAnswer},
        errors=(mining.NotMined,),
    ),
    Route(
        "GET",
        f"{V1}/mining/attribution",
        mining_view.get_attribution,
        "Blocks and rewards by the address that they were mined for, of the best chain",
        {200: mining_view.AttributionAnswer},
        parameters=(
            number("blocks", "How many", 1, mining_view.BLOCKS_MAX, default=mining_view.BLOCKS),
            number(
                "end", "The last of them; the tip where none is given", 0, mining_view.HEIGHT_MAX
            ),
            Parameter("who", "Only what was mined for this address or named account"),
        ),
        errors=(*NAMES, mining.NotMined),
    ),
    Route(
        "GET",
        f"{V1}/mining/recent",
        mining_view.get_recent,
        "The newest blocks of the best chain, and who mined them",
        {200: mining_view.RecentAnswer},
        parameters=(
            number("blocks", "How many", 1, mining_view.RECENT_MAX, default=mining_view.RECENT),
        ),
        errors=(mining.NotMined,),
    ),
    Route(
        "POST",
        f"{V1}/mining/template",
        mining.post_mine_block,
        "A block to be mined, on chains of miners",
        {200: mining.TemplateAnswer},
        aliases=("/mine_block",),
        request=mining.TemplateRequest,
        errors=(*NAMES, ClockTooSlow, HeadersMissing, NoPeers, mining.NotMined),
    ),
    Route(
        "POST",
        f"{V1}/mining/blocks",
        mining.post_submit_block,
        "Hand in the header that was mined for a template",
        {200: mining.SubmitAnswer},
        aliases=("/submit_block",),
        request=mining.SubmitRequest,
        errors=(
            mining.HeaderHexInvalid,
            mining.NotMined,
            BlockInvalid,
            BlockKnown,
            BlockStale,
            BlockTransactionInvalid,
            HeaderForeign,
            ParentInvalid,
            ParentUnknown,
            ReorgTooDeep,
            RootMismatch,
            TemplateUnknown,
            TransactionsRefused,
            headers.HashTooHigh,
            headers.TimeTooNew,
            headers.TimeTooOld,
            headers.TimeTooSoon,
            headers.TimeWarped,
        ),
    ),
    Route(
        "POST",
        "/rpc",
        rpc.post_rpc,
        "JSON-RPC for mining software that speaks to bitcoind",
        {200: rpc.RpcAnswer, 400: rpc.RpcAnswer},
        aliases=("/",),
        request=rpc.RpcRequest,
        errors=(CredentialsNeeded, mining.NotMined),
        headers=(
            Header(rpc.STRATUM_HEADER, "Where miners may go for Stratum instead", (200, 400)),
        ),
    ),
)
