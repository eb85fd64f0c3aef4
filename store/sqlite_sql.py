"""All SQL of the SQLite engine.

Times are microseconds since 1970; a lease is free when `lease_until` is not in the future.
"""

# ruff: noqa: S608 - put together from numbers and words of our own; what comes from outside is bound

from store.rows import FIRST_ONES, LAST, REDO, RETRACT, TOLD
from store.sqlite_sql_governing import full, paused, paused_channels
from store.values import RETRACTED, TURN_MESSAGES

CONVERSATION = """
SELECT id, platform, workspace, channel, thread, user_id, created_at, active_at, ended_at, expired_at, persona, sealed
FROM conversation """

BY_ID = "WHERE id = ?"
CURRENT = "WHERE platform = ? AND workspace = ? AND channel = ? AND thread = ? AND user_id = ? AND ended_at IS NULL"

TOUCH = """
INSERT INTO conversation (platform, workspace, channel, thread, user_id, created_at, active_at, last_position)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, coalesce(?7, 1))
ON CONFLICT (platform, workspace, channel, thread, user_id) WHERE ended_at IS NULL DO UPDATE SET
  active_at = max(active_at, ?6), last_position = coalesce(max(last_position, ?7), last_position + 1)
RETURNING id, last_position, epoch, lease_until, persona, sealed"""

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
INSERT INTO message
  (conversation_id, position, role, turn_id, platform_id, author_id, author_name, text, ending, at, from_bot, files, sealed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (conversation_id, position, role) DO NOTHING"""

ADD_ATTACHMENT = """
INSERT INTO attachment (message_id, number, name, media_type, size, url, data, problem, sealed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""

PUT_ANSWER = f"""
INSERT INTO message (conversation_id, position, role, turn_id, platform_id, author_id, author_name, text, ending, at, sealed)
SELECT c.id, t.until, 1, t.id, '', '', '', ?4, ?5, ?3, ?6 FROM turn t JOIN conversation c ON c.id = t.conversation_id
WHERE t.id = ?1 AND c.epoch = ?2 AND c.lease_until > ?3 AND t.stop < {RETRACT}
ON CONFLICT (conversation_id, position, role) DO UPDATE SET
  turn_id = excluded.turn_id, text = excluded.text, ending = excluded.ending, at = excluded.at, sealed = excluded.sealed"""

# Why the turn of a message may not begin at once: another one is open, its place is paused, or its workspace is full.
MUST_WAIT = f"""
SELECT 1 FROM turn WHERE conversation_id = ?1 AND state = 'queued' UNION ALL
SELECT 1 FROM turn WHERE conversation_id = ?1 AND state IN ('running', 'delivering') UNION ALL
SELECT 1 FROM turn WHERE conversation_id = ?1 AND state = 'cancelled' AND settled_at IS NULL UNION ALL
{paused("?2 ?3 ?4")} UNION ALL
SELECT 1 WHERE {full("?2 ?3", now="?5", per_workspace="?6")}"""
BEGIN = """
INSERT INTO turn (conversation_id, state, attempts, address, queued_at, since, until, messages, started_at)
VALUES (?1, 'running', 1, ?2, ?3, ?4, ?4, 1, ?5) RETURNING id, messages"""

# A conversation has one queued turn, which takes in whatever comes until it is full; the rest waits without a turn.
QUEUE = f"""
INSERT INTO turn (conversation_id, state, address, queued_at, since, until, messages,
  queued_platform, queued_workspace, queued_channel)
VALUES (?1, 'queued', ?2, ?3, ?4, ?4, 1, ?5, ?6, ?7)
ON CONFLICT (conversation_id) WHERE state = 'queued' DO UPDATE SET
  address = ?2, since = min(since, ?4), messages = messages + 1,
  until = CASE WHEN messages < {TURN_MESSAGES} THEN max(until, ?4) ELSE until END
RETURNING id, messages"""

_TURN_TO_CLAIM = """
SELECT t.id, t.conversation_id, t.state, t.attempts, t.address, t.queued_at, t.error, t.until, t.messages, t.answered,
  t.model, t.prompt_tokens, t.completion_tokens, c.epoch, c.platform, c.workspace, c.channel, c.thread, c.user_id, t.stop,
  c.persona, c.sealed
FROM turn t CROSS JOIN conversation c ON c.id = t.conversation_id
WHERE """
_CAN_BE_HAD = f"""c.lease_until <= ?1 AND c.platform IN ({{platforms}})
  AND NOT EXISTS ({paused("c.platform c.workspace c.channel")})"""
# The oldest of the first ones that can be had: mostly there is one. The join is the wrong way round for SQLite's planner on
# an empty store; CROSS JOIN keeps the few open turns outside. CASE hides from it that two conditions concern the
# conversation alone: once a file has statistics, it would build a Bloom filter of all conversations for every claim (10 ms
# at 100,000 of them).
NEXT_TURN = f"""{_TURN_TO_CLAIM}
t.settled_at IS NULL
AND t.id < coalesce((SELECT id FROM turn WHERE settled_at IS NULL ORDER BY id LIMIT 1 OFFSET {FIRST_ONES}), {LAST})
AND CASE WHEN t.id THEN {_CAN_BE_HAD}
  AND (t.state <> 'queued' OR NOT {full("c.platform c.workspace", now="?1", per_workspace="?2")}) END
ORDER BY t.id LIMIT 1"""
_LEFT = "SELECT min(t.id) AS id FROM turn t INDEXED BY {index} CROSS JOIN conversation c ON c.id = t.conversation_id WHERE"
# The oldest that is not queued: there are never many of these.
LEFT_TURN = f"""{_TURN_TO_CLAIM} t.id = (SELECT min(id) FROM (
  {_LEFT.format(index="turn_running")} t.state IN ('running', 'delivering') AND {_CAN_BE_HAD} UNION ALL
  {_LEFT.format(index="turn_retracted")} t.state = 'cancelled' AND t.settled_at IS NULL AND {_CAN_BE_HAD}))"""
# Where turns are queued, and the first one in each workspace: one look into an index for each, however many wait there.
QUEUED_PLACES = """
WITH RECURSIVE place(id, platform, workspace) AS (
  SELECT * FROM (SELECT id, queued_platform, queued_workspace FROM turn INDEXED BY turn_queued_in WHERE state = 'queued'
    ORDER BY queued_platform, queued_workspace, id LIMIT 1)
  UNION ALL
  SELECT n.id, n.queued_platform, n.queued_workspace FROM place p CROSS JOIN turn n ON n.id = coalesce(
    (SELECT t.id FROM turn t INDEXED BY turn_queued_in
      WHERE t.state = 'queued' AND t.queued_platform = p.platform AND t.queued_workspace > p.workspace
      ORDER BY t.queued_workspace, t.id LIMIT 1),
    (SELECT t.id FROM turn t INDEXED BY turn_queued_in WHERE t.state = 'queued' AND t.queued_platform > p.platform
      ORDER BY t.queued_platform, t.queued_workspace, t.id LIMIT 1)))
SELECT id, platform, workspace FROM place ORDER BY id"""
# The oldest queued turn of a workspace that can be had, unless the workspace is paused or full, which is asked first.
TURN_OF_PLACE = f"""{_TURN_TO_CLAIM} t.id = CASE
  WHEN EXISTS ({paused("?3 ?4 ''")}) OR {full("?3 ?4", now="?1", per_workspace="?2")} THEN NULL
  ELSE (SELECT o.id FROM turn o INDEXED BY turn_queued_in CROSS JOIN conversation k ON k.id = o.conversation_id
    WHERE o.state = 'queued' AND o.queued_platform = ?3 AND o.queued_workspace = ?4
    AND o.queued_channel NOT IN ({paused_channels("?3 ?4")}) AND k.lease_until <= ?1 ORDER BY o.id LIMIT 1) END"""

HOLD = "UPDATE conversation SET epoch = epoch + 1, lease_until = ?2 WHERE id = ?1"

# Whoever begins anew after a crash reads what was revised, which killed nobody yet; whoever only shows an answer is still
# asked for another one.
RUN = f"""
UPDATE turn SET state = ?2, messages = min(messages, ?3),
  attempts = CASE WHEN stop = {REDO} AND state = 'running' THEN 1 ELSE attempts + 1 END,
  stop = CASE WHEN stop = {REDO} AND state = 'running' THEN 0 ELSE stop END,
  started_at = coalesce(started_at, ?4) WHERE id = ?1
RETURNING attempts"""

QUEUE_REST = """
INSERT INTO turn (conversation_id, state, address, queued_at, since, until, messages,
  queued_platform, queued_workspace, queued_channel)
VALUES (?1, 'queued', ?2, ?3, 0, 0, ?4, ?5, ?6, ?7) RETURNING id"""
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
SELECT id, conversation_id, role, position, author_id, author_name, text, ending, turn_id, at, from_bot, platform_id, files
FROM message
WHERE conversation_id = ?1 AND (position, role) < (?2, ?3) ORDER BY position DESC, role DESC LIMIT ?4"""

# `problem` stands behind `data` in the row, and only of a file without data: length() alone does not walk through the pages
# of a picture.
ATTACHMENTS = """
SELECT number, name, media_type, size, url, CASE WHEN length(data) IS NULL THEN problem ELSE '' END, length(data)
FROM attachment WHERE message_id = ? ORDER BY number DESC"""
FILE_DATA = "SELECT data FROM attachment WHERE message_id = ? AND number = ?"
KEEP_ATTACHMENT = """
UPDATE attachment SET data = ?4, problem = ?5 WHERE number = ?3
AND message_id = (SELECT id FROM message WHERE id = ?2 AND conversation_id = ?1)"""

PARTS = "SELECT number, platform_id FROM part WHERE turn_id = ? ORDER BY number"

PUT_PART = """
INSERT INTO part (turn_id, number, platform_id) VALUES (?, ?, ?)
ON CONFLICT (turn_id, number) DO UPDATE SET platform_id = excluded.platform_id"""
SHOWN = "UPDATE turn SET shown_at = ?2 WHERE id = ?1 AND shown_at IS NULL"

HELD = "SELECT 1 FROM conversation WHERE id = ? AND epoch = ? AND lease_until > ?"
RENEW = "UPDATE conversation SET lease_until = ?4 WHERE id = ?1 AND epoch = ?2 AND lease_until > ?3"
LET_GO = "UPDATE conversation SET lease_until = 0 WHERE id = ? AND epoch = ? AND lease_until > ?"

FINISH = """
UPDATE turn SET state = 'delivering', error = '', answered = until, model = ?2,
  prompt_tokens = coalesce(?3, prompt_tokens), completion_tokens = coalesce(?4, completion_tokens) WHERE id = ?1"""
FINISH_WITH_ERROR = f"UPDATE turn SET state = 'delivering', error = ?2 WHERE id = ?1 AND stop < {RETRACT}"
TELL = f"UPDATE turn SET stop = {TOLD} WHERE id = ?"
SETTLE = f"UPDATE turn SET state = ?2, settled_at = ?3 WHERE id = ?1 AND stop < {REDO}"
SETTLE_REVISED = f"UPDATE turn SET state = ?2, settled_at = ?3 WHERE id = ?1 AND stop = {REDO}"
SETTLE_RETRACTED = f"UPDATE turn SET settled_at = ?2 WHERE id = ?1 AND stop = {TOLD}"
RELEASE = "UPDATE turn SET attempts = attempts - 1 WHERE id = ?"

# What `absorb` needs to know in one look: is the turn still held, what does it answer, and what waits behind it.
ABSORBABLE = """
SELECT r.messages, r.answered, r.until, r.stop, q.id, q.messages, q.until, q.address FROM conversation c
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

ASK = "UPDATE turn SET stop = ?2 WHERE id = ?1"

# The last turn that was settled, or the open one, which may have a lower id when it is an old one tried again. One that has
# lost all its messages asks nothing.
LAST_TURN = """
SELECT id, settled_at FROM turn WHERE conversation_id = ? AND (settled_at IS NULL OR messages > 0)
ORDER BY settled_at IS NULL DESC, id DESC LIMIT 1"""
_QUEUE_AGAIN = """
UPDATE turn SET state = 'queued', attempts = 0, stop = 0, error = '', settled_at = NULL, queued_at = ?2,
  (queued_platform, queued_workspace, queued_channel) =
    (SELECT c.platform, c.workspace, c.channel FROM conversation c WHERE c.id = turn.conversation_id) WHERE id = ?1"""
AGAIN = f"""{_QUEUE_AGAIN}
AND EXISTS (SELECT 1 FROM conversation c WHERE c.id = turn.conversation_id AND c.expired_at IS NULL)"""
REVISED_AGAIN = f"""{_QUEUE_AGAIN} AND stop = {REDO}
AND EXISTS (SELECT 1 FROM conversation c WHERE c.id = turn.conversation_id AND c.ended_at IS NULL)
AND NOT EXISTS (SELECT 1 FROM turn q WHERE q.conversation_id = turn.conversation_id AND q.state = 'queued')"""

# A user's message by its name (platform, workspace, channel, id), and a part of an answer; the newest first, where an old
# name was given twice. CROSS JOIN: the name tells more than the place.
SAID = """
SELECT m.id, m.conversation_id, m.turn_id, m.text FROM message m CROSS JOIN conversation c ON c.id = m.conversation_id
WHERE m.platform_id = ?4 AND m.platform_id <> '' AND m.role = 0
AND c.platform = ?1 AND c.workspace = ?2 AND ?3 IN ('', c.channel) ORDER BY m.id DESC"""
POSTED = """
SELECT t.conversation_id, t.id FROM part p CROSS JOIN turn t ON t.id = p.turn_id
CROSS JOIN conversation c ON c.id = t.conversation_id
WHERE p.platform_id = ?4 AND c.platform = ?1 AND c.workspace = ?2 AND ?3 IN ('', c.channel) ORDER BY t.id DESC LIMIT 1"""

TURN_FACTS = """
SELECT t.conversation_id, t.state,
  NOT EXISTS (SELECT 1 FROM turn l WHERE l.conversation_id = t.conversation_id AND l.id > t.id AND l.messages > 0),
  (SELECT ending FROM message WHERE conversation_id = t.conversation_id AND position = t.answered AND role = 1)
FROM turn t WHERE t.id = ?"""
AUTHORS = """
SELECT DISTINCT m.author_id FROM turn t JOIN message m ON m.conversation_id = t.conversation_id
WHERE t.id = ? AND m.role = 0 AND m.turn_id = t.id AND m.position BETWEEN t.since AND t.until"""

LOSE = "UPDATE turn SET messages = messages - ?2 WHERE id = ?1 RETURNING conversation_id, state, messages, answered"
SHRINK = """
UPDATE turn SET (since, until) = (SELECT min(position), max(position) FROM message m
  WHERE m.conversation_id = turn.conversation_id AND m.turn_id = turn.id AND m.role = 0
  AND m.position BETWEEN turn.since AND turn.until)
WHERE id = ? RETURNING until"""
ERASE_ANSWER = """
DELETE FROM message WHERE role = 1 AND turn_id = ?1
AND (conversation_id, position) = (SELECT conversation_id, answered FROM turn WHERE id = ?1)"""
# It is in none of the indexes that keep a conversation to one queued and one running turn: any number of replies may wait to
# be taken back.
RETRACT_TURN = f"""
UPDATE turn SET state = 'cancelled', error = '{RETRACTED}', stop = {RETRACT}, answered = NULL,
  attempts = CASE WHEN settled_at IS NULL THEN attempts ELSE 0 END,
  settled_at = CASE WHEN state IN ('running', 'delivering', 'undeliverable')
    OR EXISTS (SELECT 1 FROM part WHERE turn_id = turn.id) THEN NULL ELSE coalesce(settled_at, ?2) END
WHERE id = ?1"""

TAKE_PART = "INSERT INTO participant (conversation_id, author_id) VALUES (?, ?) ON CONFLICT DO NOTHING"
LEAVE = """
DELETE FROM participant WHERE conversation_id = ?1 AND author_id = ?2
AND NOT EXISTS (SELECT 1 FROM message WHERE conversation_id = ?1 AND role = 0 AND author_id = ?2)"""
OF_PERSON = """WHERE id IN
  (SELECT id FROM conversation WHERE user_id = ?3 AND user_id <> ''
   UNION SELECT conversation_id FROM participant WHERE author_id = ?3)
AND platform = ?1 AND workspace = ?2 AND expired_at IS NULL ORDER BY active_at DESC, id DESC LIMIT ?4"""
COUNT_MESSAGES = "SELECT count(*) FROM (SELECT 1 FROM message WHERE conversation_id = ? LIMIT ?)"
PUT_FEEDBACK = """
INSERT INTO feedback (turn_id, user_id, value, at) SELECT id, ?2, ?3, ?4 FROM turn WHERE id = ?1
ON CONFLICT (turn_id, user_id) DO UPDATE SET value = excluded.value, at = excluded.at"""
FEEDBACK = "SELECT user_id, value FROM feedback WHERE turn_id = ?"

# One place with all that is below it: an absent part stands for any.
_BELOW = "platform = ?1 AND workspace = ?2 AND ?3 IN ('', channel) AND ?4 IN ('', thread)"
CLOSE = f"UPDATE conversation SET ended_at = ?5 WHERE {_BELOW} AND ended_at IS NULL RETURNING id"
QUEUED_BELOW = f"""
SELECT t.conversation_id FROM turn t CROSS JOIN conversation c ON c.id = t.conversation_id
WHERE t.settled_at IS NULL AND t.state = 'queued' AND {_BELOW}"""

WATERMARKS = "SELECT workspace, channel, thread, position FROM watermark WHERE platform = ? ORDER BY position DESC"
MARK = """
INSERT INTO watermark (platform, workspace, channel, thread, position, at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (platform, workspace, channel, thread) DO UPDATE SET position = excluded.position, at = excluded.at
WHERE excluded.position > position"""
UNMARK = f"DELETE FROM watermark WHERE {_BELOW}"
# There is one more watermark for every thread and direct message that ever was; those that rest go with the conversation.
UNMARK_PURGED = """
DELETE FROM watermark WHERE platform = ?1 AND workspace = ?2 AND channel = ?3 AND thread = ?4 AND at < ?5
AND NOT EXISTS (SELECT 1 FROM conversation c WHERE c.platform = ?1 AND c.workspace = ?2 AND c.channel = ?3 AND c.thread = ?4
  AND c.ended_at IS NULL)"""

PUT_NOTE = "INSERT INTO note (name, text) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET text = excluded.text"
DROP_NOTE = "DELETE FROM note WHERE name = ?"

PUT_INSTALLATION = """
INSERT INTO installation (platform, workspace, user_id, data, at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (platform, workspace, user_id) DO UPDATE SET data = excluded.data, at = excluded.at"""
INSTALLATIONS = """
SELECT workspace, user_id, data, at FROM installation WHERE platform = ?1 AND ?2 IN ('', workspace)
ORDER BY at DESC, workspace, user_id"""
REMOVE_INSTALLATION = "DELETE FROM installation WHERE platform = ? AND workspace = ? AND user_id = ?"

CLEAR_INSTALLATIONS = "DELETE FROM installation WHERE platform = ? AND workspace = ?"
CLEAR_WATERMARKS = "DELETE FROM watermark WHERE platform = ? AND workspace = ?"
CLEAR_NOTES = "DELETE FROM note WHERE substr(name, 1, length(?1)) = ?1"
_SPAN_OF_WORKSPACE = "platform = ?1 AND workspace = ?2 AND id > ?3 AND id <= ?4"
GIVE_UP_CONVERSATIONS = f"""
UPDATE conversation SET expired_at = ?5, ended_at = coalesce(ended_at, ?6), epoch = epoch + 1, lease_until = 0
WHERE {_SPAN_OF_WORKSPACE}"""
OVERFULL = f"""
SELECT id, conversation_id FROM turn WHERE state = 'queued' AND messages > {TURN_MESSAGES} AND conversation_id IN
  (SELECT id FROM conversation WHERE {_SPAN_OF_WORKSPACE})"""
GIVE_UP_TURNS = f"""
UPDATE turn SET state = 'cancelled', settled_at = ?5 WHERE settled_at IS NULL AND conversation_id IN
  (SELECT id FROM conversation WHERE {_SPAN_OF_WORKSPACE})"""

# Held: a reply of it is being taken back at this moment. It goes with the next sweep.
_PURGED = "expired_at < ?1 AND lease_until <= ?3"
PURGE_MESSAGES = f"""
DELETE FROM message WHERE id IN (SELECT m.id FROM
  (SELECT id FROM conversation WHERE {_PURGED} ORDER BY expired_at LIMIT ?2) c
  CROSS JOIN message m ON m.conversation_id = c.id LIMIT ?2)"""
PURGE_TURNS = f"""
DELETE FROM turn WHERE id IN (SELECT t.id FROM
  (SELECT id FROM conversation WHERE {_PURGED} ORDER BY expired_at LIMIT ?2) c
  CROSS JOIN turn t ON t.conversation_id = c.id LIMIT ?2)"""
PURGE_CONVERSATIONS = f"""
DELETE FROM conversation WHERE id IN
  (SELECT id FROM conversation c WHERE {_PURGED}
   AND NOT EXISTS (SELECT 1 FROM message WHERE conversation_id = c.id)
   AND NOT EXISTS (SELECT 1 FROM turn WHERE conversation_id = c.id) ORDER BY expired_at LIMIT ?2)
RETURNING platform, workspace, channel, thread"""

# `seen` grows in the order of time, so the oldest stand first and nothing needs an index on time.
FORGET_EVENTS = """
DELETE FROM seen WHERE id IN (SELECT id FROM (SELECT id, at FROM seen ORDER BY id LIMIT ?2) WHERE at < ?1)"""

COUNT_OPEN = """
SELECT coalesce(sum(state = 'queued'), 0), coalesce(sum(state <> 'queued'), 0),
  min(CASE WHEN state = 'queued' THEN queued_at END) FROM turn WHERE settled_at IS NULL"""
