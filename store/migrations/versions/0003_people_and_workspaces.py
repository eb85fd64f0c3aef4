"""Who takes part in which conversation, what people think of answers, and the workspaces that the bot is installed in."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables and indexes, and note who spoke in the conversations that are there."""
    op.create_index(
        "conversation_of_user",
        "conversation",
        ["user_id"],
        sqlite_where=sa.text("user_id <> ''"),
        postgresql_where=sa.text("user_id <> ''"),
    )
    op.create_table(
        "participant",
        sa.Column("conversation_id", Id, sa.ForeignKey("conversation.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("author_id", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("participant_author", "participant", ["author_id"])
    op.execute(
        "INSERT INTO participant (conversation_id, author_id) SELECT DISTINCT m.conversation_id, m.author_id FROM message m "
        "JOIN conversation c ON c.id = m.conversation_id WHERE m.role = 0 AND m.author_id <> '' AND c.user_id = ''"
    )
    op.create_table(
        "feedback",
        sa.Column("turn_id", Id, sa.ForeignKey("turn.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "installation",
        sa.Column("platform", sa.Text, primary_key=True),
        sa.Column("workspace", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
