"""Who may do what at what cost: an audit log, accounts, personas, settings with a subject; what is sealed and forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables and columns. The settings move to a table whose key has a subject as well."""
    op.add_column("conversation", sa.Column("persona", sa.Text, nullable=False, server_default=""))
    op.add_column("conversation", sa.Column("sealed", sa.SmallInteger, nullable=False, server_default="0"))
    op.create_index("conversation_place", "conversation", ["platform", "workspace", "channel"])
    op.add_column("message", sa.Column("sealed", sa.SmallInteger, nullable=False, server_default="0"))
    op.add_column("attachment", sa.Column("sealed", sa.SmallInteger, nullable=False, server_default="0"))
    op.add_column("turn", sa.Column("started_at", sa.BigInteger))
    op.add_column("turn", sa.Column("shown_at", sa.BigInteger))
    op.add_column("turn", sa.Column("money", sa.BigInteger, nullable=False, server_default="0"))
    _give_settings_a_subject()
    op.create_table(
        "audit",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("author_id", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("allowed", sa.SmallInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_workspace", "audit", ["platform", "workspace", "id"])
    op.create_table(
        "account",
        sa.Column("period", sa.Text, primary_key=True),
        sa.Column("platform", sa.Text, primary_key=True),
        sa.Column("workspace", sa.Text, primary_key=True),
        sa.Column("payer", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        *(
            sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
            for name in ("turns", "prompt_tokens", "completion_tokens", "money")
        ),
        *(
            sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
            for name in ("reserved_turns", "reserved_tokens", "reserved_money")
        ),
        sa.Column("told", sa.Text, nullable=False, server_default=""),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reservation",
        sa.Column("turn_id", Id, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("minute", sa.Text, nullable=False),
        sa.Column("day", sa.Text, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("money", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("reservation_at", "reservation", ["at"])
    op.create_table(
        "forgotten",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "seal",
        sa.Column("number", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("proof", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )


def _give_settings_a_subject() -> None:
    # A primary key can't be changed in place on every engine.
    op.rename_table("setting", "setting_0003")
    op.create_table(
        "setting",
        sa.Column("platform", sa.Text, primary_key=True),
        sa.Column("workspace", sa.Text, primary_key=True),
        sa.Column("channel", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO setting (platform, workspace, channel, subject, name, value, at) "
        "SELECT platform, workspace, channel, '', name, value, at FROM setting_0003"
    )
    op.drop_table("setting_0003")
