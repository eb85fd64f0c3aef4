"""Which process holds a conversation or a share: what a dead one held is free at once when it starts anew on its machine."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns. A program that does not know them leaves them as they are."""
    op.add_column("conversation", sa.Column("holder", sa.Text, nullable=False, server_default=""))
    if op.get_context().dialect.name == "postgresql":
        op.add_column("replica", sa.Column("holder", sa.Text, nullable=False, server_default=""))
