"""Chaos on request: a payment is final, and the node dies before anybody is told.

Law: only where [chaos] is enabled, which development chains alone allow, and only after a payment
that this very request made: who retries with the same header is answered, not killed again.
"""

import os

import structlog
from aiohttp import web

from chaind.api.context import Api
from chaind.node.payments import Payment
from chaind.primitives.errors import Malformed, NotAllowed

HEADER = "X-Simulate-Chaos"
DEATH_STATUS = 137  # as if killed: 128 + SIGKILL

log = structlog.get_logger("chaind.api")


class ChaosDisabled(NotAllowed):
    code = "chaos-disabled"
    text = "this node does not die on request"
    advice = (
        f"Leave the {HEADER} header out; or, on a development chain, set [chaos] enabled = true "
        "(CHAIND_CHAOS_ENABLED=true)."
    )


class ChaosInvalid(Malformed):
    code = "chaos-invalid"
    text = f"the {HEADER} header is true or false, not {{given!r}}"
    advice = "Write true, or leave the header out."


def chaos_wanted(api: Api, request: web.Request) -> bool:
    """Whether the caller wants the node to die. Raises `ChaosInvalid` or `ChaosDisabled`."""
    given = request.headers.get(HEADER, "false")
    match given.strip().lower():
        case "true":
            if not api.node.config.chaos.enabled:
                raise ChaosDisabled
            return True
        case "false":
            return False
    raise ChaosInvalid(given=given[:80])


def die_after(payment: Payment) -> None:
    """End the process at once where the payment is final and was made by this request."""
    if payment.hit is None and payment.info.status == "final":
        log.warning("chaos", txid=payment.txid.hex(), exit_status=DEATH_STATUS)
        os._exit(DEATH_STATUS)
