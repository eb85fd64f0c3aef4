"""Where a turn is queued, beside the turn: a claim steps over a paused or full workspace by an index, not turn by turn."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

COLUMNS = ("queued_platform", "queued_workspace", "queued_channel")


def upgrade() -> None:
    """Add the columns and fill them for what is queued. A program that does not know them leaves them empty."""
    for name in COLUMNS:
        op.add_column("turn", sa.Column(name, sa.Text))
    op.execute(
        "UPDATE turn SET (queued_platform, queued_workspace, queued_channel) = "
        "(SELECT c.platform, c.workspace, c.channel FROM conversation c WHERE c.id = turn.conversation_id) "
        "WHERE state = 'queued'"
    )
    queued = sa.text("state = 'queued'")
    op.create_index(
        "turn_queued_in", "turn", ["queued_platform", "queued_workspace", "id"], sqlite_where=queued, postgresql_where=queued
    )
