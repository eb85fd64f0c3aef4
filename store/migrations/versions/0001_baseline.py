"""The first schema: conversations, messages, turns, parts of replies, and what was seen."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables and indexes."""
    op.create_table(
        "conversation",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("thread", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("active_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("expired_at", sa.BigInteger),
        sa.Column("last_position", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("lease_until", sa.BigInteger, nullable=False, server_default="0"),
        sqlite_autoincrement=True,
    )
    _partial_index(
        "conversation_current",
        "conversation",
        ["platform", "workspace", "channel", "thread", "user_id"],
        "ended_at IS NULL",
        unique=True,
    )
    _partial_index("conversation_idle", "conversation", ["active_at"], "expired_at IS NULL")
    _partial_index("conversation_expired", "conversation", ["expired_at"], "expired_at IS NOT NULL")

    op.create_table(
        "message",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("conversation_id", Id, sa.ForeignKey("conversation.id", ondelete="CASCADE"), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("role", sa.SmallInteger, nullable=False),
        sa.Column("turn_id", Id),
        sa.Column("platform_id", sa.Text, nullable=False),
        sa.Column("author_id", sa.Text, nullable=False),
        sa.Column("author_name", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("ending", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("message_order", "message", ["conversation_id", "position", "role"], unique=True)
    _partial_index("message_waiting", "message", ["conversation_id", "position"], "turn_id IS NULL")

    op.create_table(
        "turn",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("conversation_id", Id, sa.ForeignKey("conversation.id", ondelete="CASCADE"), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("stop", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("messages", sa.Integer, nullable=False),
        sa.Column("answered", sa.BigInteger),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False, server_default=""),
        sa.Column("model", sa.Text, nullable=False, server_default=""),
        sa.Column("prompt_tokens", sa.Integer, nullable=False, server_default="0"),
        sa.Column("completion_tokens", sa.Integer, nullable=False, server_default="0"),
        sa.Column("queued_at", sa.BigInteger, nullable=False),
        sa.Column("settled_at", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("turn_of_conversation", "turn", ["conversation_id", "id"])
    _partial_index("turn_open", "turn", ["id"], "settled_at IS NULL")
    _partial_index("turn_queued", "turn", ["conversation_id"], "state = 'queued'", unique=True)
    _partial_index("turn_running", "turn", ["conversation_id"], "state IN ('running', 'delivering')", unique=True)

    op.create_table(
        "part",
        sa.Column("turn_id", Id, sa.ForeignKey("turn.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("platform_id", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )

    op.create_table(
        "seen",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("seen_name", "seen", ["name"], unique=True)


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
