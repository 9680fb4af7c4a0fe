"""Templates that were given out, and the headers that come back for them.

Each has a coinbase of its own, so that nobody repeats another's work. The newest are remembered;
of those on a lost tip nothing is worth keeping but that they were stale.
"""

from collections import OrderedDict

from chaind.node.work_engine import WorkEngine
from chaind.primitives.block import Block, Header
from chaind.primitives.coinbase import TAG
from chaind.primitives.errors import Conflict, RuleBroken, Unknown
from chaind.primitives.hashes import display_hash, sha256

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

    def __init__(self, engine: WorkEngine) -> None:
        self._engine = engine
        self._templates: OrderedDict[str, Block] = OrderedDict()
        self._counter = 0

    def issue(self, address: bytes) -> tuple[str, Block]:
        """A new template that pays an address, and its name."""
        self._counter += 1
        extra = TAG + self._counter.to_bytes(COUNTER_BYTES, "big")
        template = self._engine.template(address, extra)
        name = sha256(template.header_bytes).hex()[:16]
        self._templates[name] = template
        if len(self._templates) > TEMPLATES_MAX:
            self._templates.popitem(last=False)
        return name, template

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
        tip = self._engine.tip_hash
        if block.parent != tip:
            shown = {"hash": block.hash, "parent": block.parent, "tip": tip}
            raise BlockStale(**{key: display_hash(value) for key, value in shown.items()})
        await self._engine.submit(block)
        return block
