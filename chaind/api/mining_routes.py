"""Rows of the route table about mining over plain HTTP."""

from chaind.api import mining
from chaind.api.refusals import NAMES
from chaind.api.route import V1, Route
from chaind.consensus.pow import errors as headers
from chaind.consensus.pow.tree_errors import ParentInvalid, ReorgTooDeep
from chaind.ledger.errors import BlockInvalid, BlockTransactionInvalid, RootMismatch
from chaind.node.template_book import BlockStale, HeaderForeign, TemplateUnknown
from chaind.node.work_engine import ParentUnknown

MINING_ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        f"{V1}/mining/template",
        mining.post_mine_block,
        "A block to be mined, on chains of miners",
        {200: mining.TemplateAnswer},
        aliases=("/mine_block",),
        request=mining.TemplateRequest,
        errors=(*NAMES, mining.NotMined),
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
            BlockStale,
            BlockTransactionInvalid,
            HeaderForeign,
            ParentInvalid,
            ParentUnknown,
            ReorgTooDeep,
            RootMismatch,
            TemplateUnknown,
            headers.HashTooHigh,
            headers.TimeTooNew,
            headers.TimeTooOld,
            headers.TimeTooSoon,
            headers.TimeWarped,
        ),
    ),
)
