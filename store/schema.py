"""The schema as it stands at the newest revision, in SQLAlchemy's words.

Only the migrations and their test read this (the hot path is SQL on the driver); `tests/store/test_migrations.py` proves
that the revisions and this file agree. Times are microseconds since 1970 in UTC, on every engine alike.
"""

import sqlalchemy as sa

metadata = sa.MetaData()
"""What a store keeps, on every engine."""
passing = sa.MetaData()
"""What replicas share for the moment, on PostgreSQL alone: not moved, not backed up, and no sign of a store in use."""

# SQLite numbers rows by itself only for a column of exactly this type.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.BigInteger()

conversation = sa.Table(
    "conversation",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("platform", sa.Text, nullable=False),
    sa.Column("workspace", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("thread", sa.Text, nullable=False),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("active_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),
    sa.Column("expired_at", Instant),
    sa.Column("last_position", sa.BigInteger, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("lease_until", Instant, nullable=False, server_default="0"),
    # What people chose for the model to be, "" for nothing; with the number of the key that it is sealed with, 0 for none.
    sa.Column("persona", sa.Text, nullable=False, server_default=""),
    sa.Column("sealed", sa.SmallInteger, nullable=False, server_default="0"),
    # The process that took the lease last (`store.process_names`); "" on SQLite, where a file has one process at a time.
    sa.Column("holder", sa.Text, nullable=False, server_default=""),
    # Ids are never used again: nonces and fences are made of them.
    sqlite_autoincrement=True,
)
sa.Index(
    "conversation_current",
    conversation.c.platform,
    conversation.c.workspace,
    conversation.c.channel,
    conversation.c.thread,
    conversation.c.user_id,
    unique=True,
    sqlite_where=sa.text("ended_at IS NULL"),
    postgresql_where=sa.text("ended_at IS NULL"),
)
sa.Index(
    "conversation_idle",
    conversation.c.active_at,
    sqlite_where=sa.text("expired_at IS NULL"),
    postgresql_where=sa.text("expired_at IS NULL"),
)
sa.Index(
    "conversation_expired",
    conversation.c.expired_at,
    sqlite_where=sa.text("expired_at IS NOT NULL"),
    postgresql_where=sa.text("expired_at IS NOT NULL"),
)
sa.Index("conversation_place", conversation.c.platform, conversation.c.workspace, conversation.c.channel)
sa.Index(
    "conversation_of_user",
    conversation.c.user_id,
    sqlite_where=sa.text("user_id <> ''"),
    postgresql_where=sa.text("user_id <> ''"),
)

# Who spoke in a conversation that is not one user's by its key: few rows, where an index on messages had one for each.
participant = sa.Table(
    "participant",
    metadata,
    sa.Column("conversation_id", Id, sa.ForeignKey("conversation.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("author_id", sa.Text, primary_key=True),
    sqlite_with_rowid=False,
)
sa.Index("participant_author", participant.c.author_id)

message = sa.Table(
    "message",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("conversation_id", Id, sa.ForeignKey("conversation.id", ondelete="CASCADE"), nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    # 0 user, 1 assistant: an answer stands directly behind the message whose position it shares.
    sa.Column("role", sa.SmallInteger, nullable=False),
    # The turn that answers it; NULL while it waits behind a full one; 0 where no turn is concerned.
    sa.Column("turn_id", Id),
    sa.Column("platform_id", sa.Text, nullable=False),
    sa.Column("author_id", sa.Text, nullable=False),
    sa.Column("author_name", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("ending", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("from_bot", sa.SmallInteger, nullable=False, server_default="0"),
    # How many attachments it has: most have none, and nobody looks for them.
    sa.Column("files", sa.SmallInteger, nullable=False, server_default="0"),
    # The number of the key that its text is sealed with; 0: it is not.
    sa.Column("sealed", sa.SmallInteger, nullable=False, server_default="0"),
)
sa.Index("message_order", message.c.conversation_id, message.c.position, message.c.role, unique=True)
sa.Index(
    "message_waiting",
    message.c.conversation_id,
    message.c.position,
    sqlite_where=sa.text("turn_id IS NULL"),
    postgresql_where=sa.text("turn_id IS NULL"),
)
sa.Index(
    "message_name",
    message.c.platform_id,
    sqlite_where=sa.text("role = 0 AND platform_id <> ''"),
    postgresql_where=sa.text("role = 0 AND platform_id <> ''"),
)

attachment = sa.Table(
    "attachment",
    metadata,
    sa.Column("message_id", Id, sa.ForeignKey("message.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("data", sa.LargeBinary),
    sa.Column("problem", sa.Text, nullable=False),
    # The number of the key that its name, address and data are sealed with; 0: they are not.
    sa.Column("sealed", sa.SmallInteger, nullable=False, server_default="0"),
)

turn = sa.Table(
    "turn",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("conversation_id", Id, sa.ForeignKey("conversation.id", ondelete="CASCADE"), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    # What its holder is asked: 1 stop, 2 begin anew, 3 take back what is shown, 4 the same and somebody was told.
    sa.Column("stop", sa.SmallInteger, nullable=False, server_default="0"),
    # The messages that it answers: the positions of the first and the last, and how many, those that wait behind included.
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("messages", sa.Integer, nullable=False),
    # The position of its answer, once it has one.
    sa.Column("answered", sa.BigInteger),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False, server_default=""),
    sa.Column("model", sa.Text, nullable=False, server_default=""),
    sa.Column("prompt_tokens", sa.Integer, nullable=False, server_default="0"),
    sa.Column("completion_tokens", sa.Integer, nullable=False, server_default="0"),
    sa.Column("queued_at", Instant, nullable=False),
    sa.Column("settled_at", Instant),
    # When it was first claimed, and when people first saw something of its reply.
    sa.Column("started_at", Instant),
    sa.Column("shown_at", Instant),
    # What its calls of the model cost, in millionths of the currency of the prices.
    sa.Column("money", sa.BigInteger, nullable=False, server_default="0"),
    # Where it is queued, so that whoever claims can step over a place; NULL when it never was.
    sa.Column("queued_platform", sa.Text),
    sa.Column("queued_workspace", sa.Text),
    sa.Column("queued_channel", sa.Text),
    sqlite_autoincrement=True,
)
sa.Index("turn_of_conversation", turn.c.conversation_id, turn.c.id)
sa.Index("turn_open", turn.c.id, sqlite_where=sa.text("settled_at IS NULL"), postgresql_where=sa.text("settled_at IS NULL"))
sa.Index(
    "turn_queued",
    turn.c.conversation_id,
    unique=True,
    sqlite_where=sa.text("state = 'queued'"),
    postgresql_where=sa.text("state = 'queued'"),
)
sa.Index(
    "turn_queued_in",
    turn.c.queued_platform,
    turn.c.queued_workspace,
    turn.c.id,
    sqlite_where=sa.text("state = 'queued'"),
    postgresql_where=sa.text("state = 'queued'"),
)
sa.Index(
    "turn_running",
    turn.c.conversation_id,
    unique=True,
    sqlite_where=sa.text("state IN ('running', 'delivering')"),
    postgresql_where=sa.text("state IN ('running', 'delivering')"),
)
sa.Index(
    "turn_retracted",
    turn.c.conversation_id,
    sqlite_where=sa.text("state = 'cancelled' AND settled_at IS NULL"),
    postgresql_where=sa.text("state = 'cancelled' AND settled_at IS NULL"),
)

part = sa.Table(
    "part",
    metadata,
    sa.Column("turn_id", Id, sa.ForeignKey("turn.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("platform_id", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("part_name", part.c.platform_id)

feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("turn_id", Id, sa.ForeignKey("turn.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

# What was delivered already: events and messages by their platform's names. Rows come and go in the order of `id`.
seen = sa.Table(
    "seen",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
)
sa.Index("seen_name", seen.c.name, unique=True)

watermark = sa.Table(
    "watermark",
    metadata,
    sa.Column("platform", sa.Text, primary_key=True),
    sa.Column("workspace", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("thread", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

setting = sa.Table(
    "setting",
    metadata,
    sa.Column("platform", sa.Text, primary_key=True),
    sa.Column("workspace", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

audit = sa.Table(
    "audit",
    metadata,
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
    sa.Column("at", Instant, nullable=False),
    # An entry's number is its name for good.
    sqlite_autoincrement=True,
)
sa.Index("audit_workspace", audit.c.platform, audit.c.workspace, audit.c.id)

# What was spent, by whose account it is and by the period: "d20261121" is a day, "m29394720" a minute since 1970.
account = sa.Table(
    "account",
    metadata,
    sa.Column("period", sa.Text, primary_key=True),
    sa.Column("platform", sa.Text, primary_key=True),
    sa.Column("workspace", sa.Text, primary_key=True),
    sa.Column("payer", sa.Text, primary_key=True),
    # A user's or a channel's id; "" for the workspace and for everybody.
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("turns", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("money", sa.BigInteger, nullable=False, server_default="0"),
    # What is set aside for turns under way.
    sa.Column("reserved_turns", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("reserved_tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("reserved_money", sa.BigInteger, nullable=False, server_default="0"),
    # The limits of which somebody was warned or told in this period, by unit: "tokens/near tokens/told".
    sa.Column("told", sa.Text, nullable=False, server_default=""),
    sqlite_with_rowid=False,
)

# What each turn under way has set aside. It outlives its turn: money that may have been spent is not given back.
reservation = sa.Table(
    "reservation",
    metadata,
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
    sa.Column("at", Instant, nullable=False),
)
sa.Index("reservation_at", reservation.c.at)

# What was erased, so that an older copy of the store does not bring it back: no text, and no id in clear.
forgotten = sa.Table(
    "forgotten",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("until", Instant, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

# The keys that texts are sealed with, by number. `proof` is a text that only the key opens.
seal = sa.Table(
    "seal",
    metadata,
    sa.Column("number", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("proof", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
)

note = sa.Table(
    "note",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

installation = sa.Table(
    "installation",
    metadata,
    sa.Column("platform", sa.Text, primary_key=True),
    sa.Column("workspace", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

# Who takes parts of what: `since` tells who has been there the longest, `until` when it counts as gone.
replica = sa.Table(
    "replica",
    passing,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("replica", sa.Text, primary_key=True),
    sa.Column("since", Instant, nullable=False),
    sa.Column("until", Instant, nullable=False),
    sa.Column("leaving", sa.Boolean, nullable=False),
    sa.Column("holder", sa.Text, nullable=False, server_default=""),
)

# The parts of each name, whose they are, and to whom their holder gives them up.
share = sa.Table(
    "share",
    passing,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("holder", sa.Text),
    sa.Column("successor", sa.Text),
)

# When the next slot of a budget is free. It is written for every post and edit, and worth nothing after a crash: without the
# server's journal a commit waits for no disk and no standby.
budget = sa.Table(
    "budget",
    passing,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("free_at", Instant, nullable=False),
    prefixes=["UNLOGGED"],
)
