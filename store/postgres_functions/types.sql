-- What functions return that is more than a few columns. `store/postgres_rows.py` reads it by these columns' order.

-- The last messages before a place in the order, oldest first, each a list of columns; their files, each a list with the place
-- of its data among `data`.
CREATE TYPE parley_window_$V AS (messages json, files json, data bytea[]);

-- All that it takes to carry out a turn.
CREATE TYPE parley_held_$V AS (
  conversation_id bigint, turn_id bigint, epoch bigint, state text, attempts int, address text, queued_at bigint, error text,
  platform text, workspace text, channel text, thread text, user_id text, persona text, persona_sealed int,
  stop int, recovered boolean, answer json, parts json, messages json, files json, data bytea[]
);

-- A conversation, as it is told.
CREATE TYPE parley_conversation_$V AS (
  id bigint, platform text, workspace text, channel text, thread text, user_id text, created_at bigint, active_at bigint,
  ended_at bigint, expired_at bigint, persona text, sealed int
);
