"""All SQL of the SQLite engine that concerns keeping: lists, what people take away, what is erased so that it stays gone.

A conversation whose `expired_at` is 0 was given up: it is being erased in portions, and nobody sees it any more.
"""

# ruff: noqa: S608 - put together from numbers and words of our own; what comes from outside is bound

from store.keeping import ConversationFilter, ConversationState
from store.sqlite_sql import CONVERSATION

_STATES = {
    None: "expired_at IS NOT 0",
    ConversationState.CURRENT: "ended_at IS NULL",
    ConversationState.ENDED: "ended_at IS NOT NULL AND expired_at IS NULL",
    ConversationState.EXPIRED: "expired_at > 0",
}
_IN_WORKSPACE = "platform = :platform AND workspace = :workspace"
_OF_PERSON = f"""id IN
  (SELECT id FROM conversation WHERE user_id = :user AND user_id <> ''
   UNION SELECT conversation_id FROM participant WHERE author_id = :user)
AND {_IN_WORKSPACE}"""


def list_conversations(which: ConversationFilter) -> str:
    """Write the list of a workspace's conversations: those of a user and of a channel are found by their index."""
    of = _OF_PERSON if which.user else _IN_WORKSPACE
    index = "" if which.user else "INDEXED BY conversation_place"
    if which.channel:
        of += " AND channel = :channel"
    elif which.state is ConversationState.CURRENT and not which.user:
        index = "INDEXED BY conversation_current"
    return f"{CONVERSATION}{index} WHERE {of} AND id < :before AND {_STATES[which.state]} ORDER BY id DESC LIMIT :limit"


def list_newest(which: ConversationFilter) -> str:
    """Write the beginning of the list of all conversations of a workspace: those among the newest of the whole store."""
    return f"""{CONVERSATION}NOT INDEXED WHERE {_IN_WORKSPACE} AND id < :before AND id >= :since AND {_STATES[which.state]}
ORDER BY id DESC LIMIT :limit"""


IN_WORKSPACE = f"{CONVERSATION}WHERE id = ? AND platform = ? AND workspace = ? AND expired_at IS NOT 0"
PEOPLE = """
SELECT author_id FROM participant WHERE conversation_id = ?1 UNION
SELECT user_id FROM conversation WHERE id = ?1 AND user_id <> ''
AND EXISTS (SELECT 1 FROM message WHERE conversation_id = ?1 AND role = 0 AND author_id <> '')"""
TURN_RECORDS = """
SELECT id, state, attempts, messages, (SELECT count(*) FROM part WHERE turn_id = turn.id), queued_at, started_at, shown_at,
  settled_at, model, prompt_tokens, completion_tokens, money, error
FROM turn WHERE conversation_id = ? ORDER BY id DESC LIMIT ?"""

# What had ended before did so before it expired, if only by a microsecond: `UNEXPIRE` goes by that.
EXPIRE_NOW = """
UPDATE conversation SET expired_at = ?4, ended_at = coalesce(min(ended_at, ?4 - 1), ?4)
WHERE id = ?3 AND platform = ?1 AND workspace = ?2 AND expired_at IS NULL"""
UNEXPIRE = """
UPDATE conversation SET expired_at = NULL, active_at = max(active_at, ?4),
  ended_at = CASE WHEN ended_at < expired_at OR EXISTS (SELECT 1 FROM conversation n
    WHERE n.platform = conversation.platform AND n.workspace = conversation.workspace AND n.channel = conversation.channel
    AND n.thread = conversation.thread AND n.user_id = conversation.user_id
    AND (n.id > conversation.id OR n.ended_at IS NULL))
    THEN ended_at END
WHERE id = ?3 AND platform = ?1 AND workspace = ?2 AND expired_at > 0"""
EXTEND = "UPDATE conversation SET active_at = max(active_at, ?2) WHERE id = ?1 AND expired_at IS NULL"
PUT_PERSONA = "UPDATE conversation SET persona = ?2, sealed = ?3 WHERE id = ?1"

_LAST_ASKED = "SELECT max(id) FROM turn WHERE conversation_id = ?1 AND messages > 0"
LAST_SAID = f"""
SELECT c.platform, c.workspace, c.channel, m.platform_id, m.position FROM conversation c
CROSS JOIN turn t ON t.id = ({_LAST_ASKED})
CROSS JOIN message m ON m.conversation_id = c.id AND m.position BETWEEN t.since AND t.until
WHERE c.id = ?1 AND m.role = 0 AND m.turn_id = t.id AND m.author_id = ?2 AND m.platform_id <> ''
UNION
SELECT c.platform, c.workspace, c.channel, m.platform_id, m.position FROM conversation c
CROSS JOIN message m INDEXED BY message_waiting ON m.conversation_id = c.id
WHERE c.id = ?1 AND m.turn_id IS NULL AND m.role = 0 AND m.author_id = ?2 AND m.platform_id <> ''
ORDER BY 5"""

WITH_PERSON = f"{CONVERSATION}WHERE {_OF_PERSON} AND expired_at IS NOT 0 AND id > :after ORDER BY id LIMIT :limit"
# Theirs alone: it is theirs by its key, or they spoke in it and nobody else did.
ALONE = """
SELECT 1 FROM conversation c WHERE c.id = ?1 AND CASE WHEN c.user_id <> '' THEN c.user_id = ?2 ELSE
  EXISTS (SELECT 1 FROM participant WHERE conversation_id = ?1 AND author_id = ?2)
  AND NOT EXISTS (SELECT 1 FROM participant WHERE conversation_id = ?1 AND author_id <> ?2) END"""
ALL_OF_IT = "SELECT position, role FROM message WHERE conversation_id = ? AND id > ? ORDER BY id LIMIT ?"
SHARE_OF_IT = """
SELECT position, role FROM message WHERE conversation_id = ?1 AND id > ?2 AND CASE WHEN role = 0 THEN author_id = ?4 ELSE
  EXISTS (SELECT 1 FROM turn t JOIN message q ON q.conversation_id = ?1 AND q.position BETWEEN t.since AND t.until
    WHERE t.id = message.turn_id AND q.role = 0 AND q.turn_id = t.id AND q.author_id = ?4) END
ORDER BY id LIMIT ?3"""

ERASABLE = """
SELECT platform, workspace, channel, thread, user_id, created_at, active_at FROM conversation WHERE id = ?"""
NAME_OF = """
SELECT c.platform, c.workspace, c.channel, m.platform_id FROM message m JOIN conversation c ON c.id = m.conversation_id
WHERE m.id = ?"""
# Conversations that are a person's, and when they were last active; those that were given up go by themselves.
TO_FORGET = f"""
SELECT id, active_at FROM conversation WHERE {_OF_PERSON} AND expired_at IS NOT 0 AND id > :after
 ORDER BY id LIMIT :limit"""
SAID_WHEN = """
SELECT coalesce(sum(at <= ?2), 0), coalesce(sum(at > ?2), 0) FROM message WHERE conversation_id = ?1 AND role = 0"""
SAID_UNTIL = """
SELECT id, conversation_id, turn_id FROM message
WHERE conversation_id = ? AND role = 0 AND author_id = ? AND at <= ? LIMIT ?"""
COUNT_ALL = "SELECT count(*) FROM message WHERE conversation_id = ?"
GIVE_UP = """
UPDATE conversation SET expired_at = 0, ended_at = coalesce(ended_at, ?2), epoch = epoch + 1, lease_until = 0,
  persona = '', sealed = 0 WHERE id = ?1"""
CANCEL_TURNS = "UPDATE turn SET state = 'cancelled', settled_at = ?2 WHERE conversation_id = ?1 AND settled_at IS NULL"

# People click on answers of conversations in which they said nothing, so all that was clicked is looked through.
FEEDBACK_SPAN = "SELECT max(turn_id) FROM (SELECT turn_id FROM feedback WHERE turn_id > ?1 ORDER BY turn_id LIMIT ?2)"
OPINIONS = """
SELECT f.turn_id, t.conversation_id, f.value, f.at FROM feedback f CROSS JOIN turn t ON t.id = f.turn_id
CROSS JOIN conversation c ON c.id = t.conversation_id
WHERE f.turn_id > ?4 AND f.turn_id <= ?5 AND f.user_id = ?3 AND c.platform = ?1 AND c.workspace = ?2
  AND c.expired_at IS NOT 0 ORDER BY f.turn_id"""
FORGET_FEEDBACK = """
DELETE FROM feedback WHERE turn_id > ?5 AND turn_id <= ?6 AND user_id = ?3 AND at <= ?4 AND EXISTS
  (SELECT 1 FROM turn t CROSS JOIN conversation c ON c.id = t.conversation_id
   WHERE t.id = feedback.turn_id AND c.platform = ?1 AND c.workspace = ?2)"""
# From period to period, since an account is found by its period first: a seek for each, of some hundred.
FORGET_ACCOUNTS = """
WITH RECURSIVE known (period) AS
  (SELECT min(period) FROM account UNION ALL SELECT (SELECT min(period) FROM account a WHERE a.period > known.period)
   FROM known WHERE known.period IS NOT NULL)
DELETE FROM account WHERE payer = 'user' AND platform = ?1 AND workspace = ?2 AND subject = ?3 AND period IN
  (SELECT period FROM known WHERE period >= 'd' AND period < ?4 OR period >= 'm' AND period < ?5)"""

# What an older copy of the store may hold of what was erased.
CONVERSATIONS_AFTER = """
SELECT id, platform, workspace, channel, thread, user_id, created_at FROM conversation WHERE id > ? ORDER BY id LIMIT ?"""
MESSAGES_AFTER = """
SELECT m.id, m.conversation_id, m.turn_id, c.platform, c.workspace, c.channel, m.platform_id, m.role
FROM (SELECT id, conversation_id, turn_id, platform_id, role FROM message WHERE id > ? ORDER BY id LIMIT ?) m
CROSS JOIN conversation c ON c.id = m.conversation_id ORDER BY m.id"""
EVERYBODY = """
SELECT platform, workspace, user_id FROM conversation WHERE user_id <> '' UNION
SELECT c.platform, c.workspace, p.author_id FROM participant p JOIN conversation c ON c.id = p.conversation_id UNION
SELECT c.platform, c.workspace, f.user_id FROM feedback f JOIN turn t ON t.id = f.turn_id
  JOIN conversation c ON c.id = t.conversation_id UNION
SELECT platform, workspace, subject FROM account WHERE payer = 'user'"""
