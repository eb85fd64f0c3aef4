"""All SQL of the SQLite engine.

Times are microseconds since 1970; a lease is free when `lease_until` is not in the future.
"""

from store.protocol import TURN_MESSAGES

CONVERSATION = """
SELECT id, platform, workspace, channel, thread, user_id, created_at, active_at, ended_at, expired_at FROM conversation """

CURRENT = "WHERE platform = ? AND workspace = ? AND channel = ? AND thread = ? AND user_id = ? AND ended_at IS NULL"

TOUCH = """
INSERT INTO conversation (platform, workspace, channel, thread, user_id, created_at, active_at, last_position)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, coalesce(?7, 1))
ON CONFLICT (platform, workspace, channel, thread, user_id) WHERE ended_at IS NULL DO UPDATE SET
  active_at = max(active_at, ?6), last_position = coalesce(max(last_position, ?7), last_position + 1)
RETURNING id, last_position, epoch, lease_until"""

GET_OR_CREATE = """
INSERT INTO conversation (platform, workspace, channel, thread, user_id, created_at, active_at, last_position)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 0)
ON CONFLICT (platform, workspace, channel, thread, user_id) WHERE ended_at IS NULL DO NOTHING"""

NEXT_POSITION = """
UPDATE conversation SET last_position = last_position + 1, active_at = max(active_at, ?2) WHERE id = ?1
RETURNING last_position"""

SEE_TWO = "INSERT INTO seen (name, at) VALUES (?1, ?3), (?2, ?3) ON CONFLICT (name) DO NOTHING"
SEE_ONE = "INSERT INTO seen (name, at) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING"

UNSEE = "DELETE FROM seen WHERE id = last_insert_rowid()"

ADD_MESSAGE = """
INSERT INTO message (conversation_id, position, role, turn_id, platform_id, author_id, author_name, text, ending, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (conversation_id, position, role) DO NOTHING"""

PUT_ANSWER = """
INSERT INTO message (conversation_id, position, role, turn_id, platform_id, author_id, author_name, text, ending, at)
SELECT c.id, t.until, 1, t.id, '', '', '', ?4, ?5, ?3 FROM turn t JOIN conversation c ON c.id = t.conversation_id
WHERE t.id = ?1 AND c.epoch = ?2 AND c.lease_until > ?3
ON CONFLICT (conversation_id, position, role) DO UPDATE SET
  turn_id = excluded.turn_id, text = excluded.text, ending = excluded.ending, at = excluded.at"""

OPEN = """
SELECT 1 FROM turn WHERE conversation_id = ?1 AND state = 'queued' UNION ALL
SELECT 1 FROM turn WHERE conversation_id = ?1 AND state IN ('running', 'delivering')"""
BEGIN = """
INSERT INTO turn (conversation_id, state, attempts, address, queued_at, since, until, messages)
VALUES (?1, 'running', 1, ?2, ?3, ?4, ?4, 1) RETURNING id, messages"""

# A conversation has one queued turn, which takes in whatever comes until it is full; the rest waits without a turn.
QUEUE = f"""
INSERT INTO turn (conversation_id, state, address, queued_at, since, until, messages)
VALUES (?1, 'queued', ?2, ?3, ?4, ?4, 1)
ON CONFLICT (conversation_id) WHERE state = 'queued' DO UPDATE SET
  address = ?2, since = min(since, ?4), messages = messages + 1,
  until = CASE WHEN messages < {TURN_MESSAGES} THEN max(until, ?4) ELSE until END
RETURNING id, messages"""  # noqa: S608 - a number of our own

# The join is the wrong way round for SQLite's planner on an empty store; CROSS JOIN keeps the few open turns outside. CASE
# hides from it that two conditions concern the conversation alone: once a file has statistics, it would build a Bloom filter
# of all conversations for every claim (10 ms at 100,000 of them).
NEXT_TURN = """
SELECT t.id, t.conversation_id, t.state, t.attempts, t.address, t.queued_at, t.error, t.until, t.messages, t.answered,
  t.model, t.prompt_tokens, t.completion_tokens, c.epoch, c.platform, c.workspace, c.channel, c.thread, c.user_id
FROM turn t CROSS JOIN conversation c ON c.id = t.conversation_id
WHERE t.settled_at IS NULL AND CASE WHEN t.id THEN c.lease_until <= ? AND c.platform IN ({platforms}) END
ORDER BY t.id LIMIT 1"""

HOLD = "UPDATE conversation SET epoch = epoch + 1, lease_until = ?2 WHERE id = ?1"

RUN = "UPDATE turn SET state = ?2, attempts = attempts + 1, messages = min(messages, ?3) WHERE id = ?1"

QUEUE_REST = """
INSERT INTO turn (conversation_id, state, address, queued_at, since, until, messages) VALUES (?1, 'queued', ?2, ?3, 0, 0, ?4)
RETURNING id"""
TAKE_WAITING = """
UPDATE message SET turn_id = ?1 WHERE id IN
  (SELECT id FROM message WHERE conversation_id = ?2 AND turn_id IS NULL ORDER BY position LIMIT ?3)
RETURNING position"""
# A turn that is overfull gives all its messages back first: which of them it keeps is a matter of order, not of arrival.
LET_WAIT = """
UPDATE message SET turn_id = NULL WHERE conversation_id = ?2 AND turn_id = ?1 AND role = 0
AND position BETWEEN (SELECT since FROM turn WHERE id = ?1) AND (SELECT until FROM turn WHERE id = ?1)"""
SPAN = "UPDATE turn SET since = ?2, until = ?3 WHERE id = ?1"

# A turn that is tried again may answer more than before; its old answer stays behind its last message until replaced.
MOVE_ANSWER = "UPDATE message SET position = ?3 WHERE conversation_id = ?1 AND position = ?2 AND role = 1 AND turn_id = ?4"
ANSWERED = "UPDATE turn SET answered = ?2 WHERE id = ?1"

WINDOW = """
SELECT id, conversation_id, role, position, author_id, author_name, text, ending, turn_id, at FROM message
WHERE conversation_id = ?1 AND (position, role) < (?2, ?3) ORDER BY position DESC, role DESC LIMIT ?4"""

PARTS = "SELECT number, platform_id FROM part WHERE turn_id = ? ORDER BY number"

PUT_PART = """
INSERT INTO part (turn_id, number, platform_id) VALUES (?, ?, ?)
ON CONFLICT (turn_id, number) DO UPDATE SET platform_id = excluded.platform_id"""

HELD = "SELECT 1 FROM conversation WHERE id = ? AND epoch = ? AND lease_until > ?"
RENEW = "UPDATE conversation SET lease_until = ?4 WHERE id = ?1 AND epoch = ?2 AND lease_until > ?3"
LET_GO = "UPDATE conversation SET lease_until = 0 WHERE id = ? AND epoch = ? AND lease_until > ?"

FINISH = """
UPDATE turn SET state = 'delivering', error = '', answered = until, model = ?2, prompt_tokens = ?3, completion_tokens = ?4
WHERE id = ?1"""
FINISH_WITH_ERROR = "UPDATE turn SET state = 'delivering', error = ?2 WHERE id = ?1"
SETTLE = "UPDATE turn SET state = ?2, settled_at = ?3 WHERE id = ?1"
RELEASE = "UPDATE turn SET attempts = attempts - 1 WHERE id = ?"

# What `absorb` needs to know in one look: is the turn still held, what does it answer, and what waits behind it.
ABSORBABLE = """
SELECT r.messages, r.answered, r.until, q.id, q.messages, q.until, q.address FROM conversation c
JOIN turn r ON r.id = ?2 LEFT JOIN turn q ON q.conversation_id = c.id AND q.state = 'queued'
WHERE c.id = ?1 AND c.epoch = ?3 AND c.lease_until > ?4"""
ABSORB_MESSAGES = """
UPDATE message SET turn_id = ?1 WHERE conversation_id = ?2 AND turn_id = ?3
AND position BETWEEN (SELECT since FROM turn WHERE id = ?3) AND (SELECT until FROM turn WHERE id = ?3)"""
ABSORB_TURN = """
UPDATE turn SET until = max(turn.until, q.until), since = min(turn.since, q.since), messages = turn.messages + q.messages,
  address = q.address FROM turn q WHERE turn.id = ?1 AND q.id = ?2"""
QUEUED = "SELECT id, messages FROM turn WHERE conversation_id = ? AND state = 'queued'"
RUNNING = "SELECT id FROM turn WHERE conversation_id = ? AND state IN ('running', 'delivering')"

# The last turn that was settled, or the open one, which may have a lower id when it is an old one tried again.
LAST_TURN = "SELECT id, settled_at FROM turn WHERE conversation_id = ? ORDER BY settled_at IS NULL DESC, id DESC LIMIT 1"
AGAIN = """
UPDATE turn SET state = 'queued', attempts = 0, stop = 0, error = '', settled_at = NULL, queued_at = ?2 WHERE id = ?1
AND EXISTS (SELECT 1 FROM conversation c WHERE c.id = turn.conversation_id AND c.expired_at IS NULL)"""

EXPIRE = """
UPDATE conversation SET expired_at = ?1, ended_at = coalesce(ended_at, ?1) WHERE id IN
  (SELECT c.id FROM conversation c WHERE c.expired_at IS NULL AND c.active_at < ?2
   AND NOT EXISTS (SELECT 1 FROM turn WHERE conversation_id = c.id AND settled_at IS NULL) ORDER BY c.active_at LIMIT ?3)"""

PURGE_MESSAGES = """
DELETE FROM message WHERE id IN (SELECT m.id FROM
  (SELECT id FROM conversation WHERE expired_at < ?1 ORDER BY expired_at LIMIT ?2) c
  CROSS JOIN message m ON m.conversation_id = c.id LIMIT ?2)"""
PURGE_TURNS = """
DELETE FROM turn WHERE id IN (SELECT t.id FROM
  (SELECT id FROM conversation WHERE expired_at < ?1 ORDER BY expired_at LIMIT ?2) c
  CROSS JOIN turn t ON t.conversation_id = c.id LIMIT ?2)"""
PURGE_CONVERSATIONS = """
DELETE FROM conversation WHERE id IN
  (SELECT id FROM conversation c WHERE expired_at < ?1
   AND NOT EXISTS (SELECT 1 FROM message WHERE conversation_id = c.id)
   AND NOT EXISTS (SELECT 1 FROM turn WHERE conversation_id = c.id) ORDER BY expired_at LIMIT ?2)"""

# `seen` grows in the order of time, so the oldest stand first and nothing needs an index on time.
FORGET_EVENTS = """
DELETE FROM seen WHERE id IN (SELECT id FROM (SELECT id, at FROM seen ORDER BY id LIMIT ?2) WHERE at < ?1)"""

COUNT_OPEN = """
SELECT coalesce(sum(state = 'queued'), 0), coalesce(sum(state <> 'queued'), 0),
  min(CASE WHEN state = 'queued' THEN queued_at END) FROM turn WHERE settled_at IS NULL"""
