"""Templates that were given out, and the headers that come back for them.

They are of the plans that `gbt` offers, whose law holds here too: however many ask, transactions
are chosen now and then. Each has a coinbase of its own, so that nobody repeats another's work. The
newest are remembered; of those on a lost tip nothing is worth keeping but that they were stale.
"""

from collections import OrderedDict

from chaind.node.gbt import BlockKnown, Gbt, Offer
from chaind.node.work_engine import WorkEngine
from chaind.primitives.block import BLOCK_VERSION, Block, Header, block_leaves
from chaind.primitives.coinbase import TAG
from chaind.primitives.errors import Conflict, RuleBroken, Unknown
from chaind.primitives.hashes import (
    display_hash,
    merkle_path,
    merkle_root_from_path,
    sha256,
    sha256d,
)

TEMPLATES_MAX = 256  # a template shares its transactions with the pool and with other templates
COUNTER_BYTES = 8


class TemplateUnknown(Unknown):
    """No such template was given out lately."""

    code = "template-unknown"
    text = "template {id} is not known here"
    advice = "Get a new template; the node that gave this one out has forgotten it, or never did."


class BlockStale(Conflict):
    """The chain has gone on."""

    code = "stale-block"
    text = "block {hash} stands on {parent}, the tip is {tip}"
    advice = "Get a new template: another block was found first."


class HeaderForeign(RuleBroken):
    """A header that is not the template's."""

    code = "header-foreign"
    text = "the header's {what} is not that of template {id}"
    advice = "Change nothing of the header but time, nonce, and the version's lower 29 bits."


class TemplateBook:
    """See the module's law."""

    def __init__(self, engine: WorkEngine, gbt: Gbt) -> None:
        self._engine = engine
        self._gbt = gbt
        self._templates: OrderedDict[str, Block] = OrderedDict()
        # Of the plan that was given out last: its id, and its Merkle branch.
        self._branch: tuple[str, tuple[bytes, ...]] = ("", ())

    def issue(self, address: bytes) -> tuple[str, Block]:
        """A new template that pays an address, and its name. Raises what `Gbt.offer` raises."""
        offer = self._gbt.offer()
        extra = TAG + self._gbt.salt + offer.number.to_bytes(COUNTER_BYTES, "big")
        template = self._template(offer, offer.plan.coinbase(address, extra))
        name = sha256(template.header_bytes).hex()[:16]
        self._templates[name] = template
        if len(self._templates) > TEMPLATES_MAX:
            self._templates.popitem(last=False)
        return name, template

    def _template(self, offer: Offer, coinbase: bytes) -> Block:
        """Only the coinbase's branch of the Merkle tree is hashed anew for each."""
        plan, (name, branch) = offer.plan, self._branch
        if name != offer.id:
            branch = merkle_path(block_leaves(coinbase, plan.committed, plan.transactions), 0)
            self._branch = offer.id, branch
        root = merkle_root_from_path(sha256d(coinbase), 0, branch)
        header = Header(BLOCK_VERSION, plan.parent, root, offer.time, plan.bits, 0)
        return Block(header, coinbase, plan.committed, plan.transactions)

    async def submit(self, name: str, header: bytes) -> Block:
        """Take a mined header for a template. Raises what is wrong with it."""
        template = self._templates.get(name)
        if template is None:
            raise TemplateUnknown(id=name[:64])
        given, due = Header.decode(header), template.header
        for what in ("parent", "merkle_root", "bits"):
            if getattr(given, what) != getattr(due, what):
                raise HeaderForeign(what=what.replace("_", " "), id=name)
        block = Block(
            given,
            template.coinbase_bytes,
            template.commitment_bytes,
            template.transactions,
        )
        if self._engine.follows(block.hash):  # handed in again, as by who missed the answer
            raise BlockKnown(hash=display_hash(block.hash), state="valid")
        tip = self._engine.tip_hash
        if block.parent != tip:
            shown = {"hash": block.hash, "parent": block.parent, "tip": tip}
            raise BlockStale(**{key: display_hash(value) for key, value in shown.items()})
        await self._engine.submit(block)
        return block
