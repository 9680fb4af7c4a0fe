"""`chaind rollback`: a stopped node of a mined chain goes back to where two chains parted."""

from pathlib import Path

import click

from chaind.cli.audit import ProgressBar
from chaind.cli.parameters import FilePath, Whole


@click.command()
@click.option(
    "--home",
    type=FilePath(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="Data directory of a stopped node.",
)
@click.option("--to", type=Whole(0), required=True, help="The height of the last block to keep.")
def rollback(home: Path, to: int) -> None:
    """Take a stopped node of a mined chain back to a height.

    For a node whose chain parted from the others' for longer than final_depth blocks, which its log
    (reorg_refused) and GET /status tell, with the height at which they parted. Depth made blocks
    final on this node alone; this overrides it. The old blocks are kept beside the new ones, their
    transactions are pending again, and the node follows the heaviest chain from there on.

    Blocks that validators have signed as final are never taken back.

    \b
    Example:
      chaind rollback --home node --to 1200
    """
    from chaind.api.webhook_records import Records
    from chaind.node.home import Home
    from chaind.node.rollback import roll_back
    from chaind.primitives.hashes import display_hash
    from chaind.storage.files import OsFiles

    bar, records = ProgressBar(), Records(OsFiles(), Home(home).webhooks)
    rewound: list[str] = []
    done = roll_back(home, to, bar.show, lambda height: rewound.extend(records.rewind(height + 1)))
    bar.close()
    click.echo(f"The last final block is {done.height} ({display_hash(done.tip)}).")
    click.echo(
        f"Blocks above {to} are taken back: {done.undone:,}. {done.returned:,} transactions of "
        "theirs are pending again."
    )
    if rewound:
        click.echo(
            f"Webhooks that go on from height {done.height + 1}: {len(rewound)}. Events there have "
            "ids that others had before; tell their receivers."
        )
    click.echo(f"The old chain is kept in {done.kept}; remove it once it is not needed.")
