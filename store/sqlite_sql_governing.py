"""All SQL of the SQLite engine that concerns governing: settings, the audit log, accounts and what is set aside."""

# ruff: noqa: S608 - put together from words of our own; what comes from outside is bound

from store.governing import ON, PAUSED, WORKSPACE_RUNNING

SETTINGS = """
SELECT platform, workspace, channel, subject, name, value FROM setting WHERE platform IN (?, '')
ORDER BY platform, workspace, channel, subject, name"""
SETTING = "SELECT value FROM setting WHERE platform = ? AND workspace = ? AND channel = ? AND subject = ? AND name = ?"
PUT_SETTING = """
INSERT INTO setting (platform, workspace, channel, subject, name, value, at) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (platform, workspace, channel, subject, name) DO UPDATE SET value = excluded.value, at = excluded.at"""
DROP_SETTING = "DELETE FROM setting WHERE platform = ? AND workspace = ? AND channel = ? AND subject = ? AND name = ?"
CLEAR_SETTINGS = "DELETE FROM setting WHERE platform = ? AND workspace = ?"

# How often settings were changed. It stands among the notes, under a name that no adapter gives and no workspace's notes
# begin with, since it has to outlive the settings.
_VERSION = "'\x1fsettings'"
VERSION = f"SELECT text FROM note WHERE name = {_VERSION}"
CHANGED = f"""
INSERT INTO note (name, text) VALUES ({_VERSION}, '1')
ON CONFLICT (name) DO UPDATE SET text = CAST(CAST(note.text AS INTEGER) + 1 AS TEXT)"""

ADD_AUDIT = """
INSERT INTO audit (platform, workspace, channel, author_id, action, target, before, after, allowed, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_AUDIT = "SELECT id, platform, workspace, channel, author_id, action, target, before, after, allowed, at FROM audit"
AUDIT = f"{_AUDIT} WHERE platform = ?1 AND workspace = ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4"
# Two walks down one index, each of them short; OR would read all of the log.
AUDIT_OF_ALL = f"""
SELECT * FROM ({_AUDIT} WHERE platform = ?1 AND workspace = ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4) UNION
SELECT * FROM ({_AUDIT} WHERE platform = '' AND workspace = '' AND id < ?3 ORDER BY id DESC LIMIT ?4)
ORDER BY id DESC LIMIT ?4"""
# The log grows in the order of time, so the oldest entries stand first and nothing needs an index on time.
FORGET_AUDIT = """
DELETE FROM audit WHERE id IN (SELECT id FROM (SELECT id, at FROM audit ORDER BY id LIMIT ?2) WHERE at < ?1)"""
CLEAR_AUDIT = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE platform = ?1 AND workspace = ?2 LIMIT ?3)"


def paused(place: str) -> str:
    """Select a row when a place is paused; `place` is where its columns stand: a table's name and a dot, or parameters."""
    platform, workspace, channel = place.split()
    named = f"subject = '' AND name = '{PAUSED}' AND value = '{ON}'"
    return f"""
SELECT 1 FROM setting WHERE platform = {platform} AND workspace = {workspace} AND channel = {channel} AND {named} UNION ALL
SELECT 1 FROM setting WHERE platform = {platform} AND workspace = {workspace} AND channel = '' AND {named} UNION ALL
SELECT 1 FROM setting WHERE platform = '' AND workspace = '' AND channel = '' AND {named}"""


def paused_channels(place: str) -> str:
    """Select the channels of a workspace that are paused by themselves."""
    platform, workspace = place.split()
    return f"""
SELECT channel FROM setting WHERE platform = {platform} AND workspace = {workspace} AND subject = ''
AND name = '{PAUSED}' AND value = '{ON}'"""


# Who holds a turn just now, by the two small indexes that have no queued turn in them.
_HELD = """
SELECT h.platform, h.workspace FROM turn r CROSS JOIN conversation h ON h.id = r.conversation_id
WHERE r.state IN ('running', 'delivering') AND h.lease_until > {now} UNION ALL
SELECT h.platform, h.workspace FROM turn r CROSS JOIN conversation h ON h.id = r.conversation_id
WHERE r.state = 'cancelled' AND r.settled_at IS NULL AND h.lease_until > {now}"""


def full(place: str, *, now: str, per_workspace: str) -> str:
    """Tell 1 when as many turns of a workspace are held as may be, 0 when there is room; nobody counts without a limit."""
    platform, workspace = place.split()
    most = f"""coalesce((SELECT CAST(value AS INTEGER) FROM setting WHERE platform = {platform} AND workspace = {workspace}
  AND channel = '' AND subject = '' AND name = '{WORKSPACE_RUNNING}'), {per_workspace})"""
    held = f"""(SELECT count(*) FROM ({_HELD.format(now=now)}) held
  WHERE held.platform = {platform} AND held.workspace = {workspace})"""
    return f"CASE WHEN {most} IS NULL THEN 0 ELSE {held} >= {most} END"


RUNNING_IN = f"""
SELECT count(*) FROM ({_HELD.format(now="?1")}) held
WHERE held.platform = ?2 AND held.workspace IN (SELECT value FROM json_each(?3))"""

# Whose accounts a turn is on: payer, platform, workspace, subject. ?1 is the period, ?2 to ?5 are platform, workspace,
# channel and user.
_PAYERS = (
    ("user", "?2", "?3", "?5"),
    ("channel", "?2", "?3", "?4"),
    ("workspace", "?2", "?3", "''"),
    ("all", "''", "''", "''"),
)
ACCOUNTS = " UNION ALL ".join(
    f"""
SELECT payer, turns + reserved_turns, prompt_tokens + completion_tokens + reserved_tokens, money + reserved_money, told
FROM account WHERE period = ?1 AND platform = {platform} AND workspace = {workspace} AND payer = '{payer}'
AND subject = {subject}"""
    for payer, platform, workspace, subject in _PAYERS
)
_SUMS = ("turns", "prompt_tokens", "completion_tokens", "money", "reserved_turns", "reserved_tokens", "reserved_money")
POST = f"""
INSERT INTO account (period, platform, workspace, payer, subject, {", ".join(_SUMS)}) VALUES
{", ".join(f"(?1, {of[1]}, {of[2]}, '{of[0]}', {of[3]}, ?6, ?7, ?8, ?9, ?10, ?11, ?12)" for of in _PAYERS)}
ON CONFLICT (period, platform, workspace, payer, subject) DO UPDATE SET
{", ".join(f"{name} = account.{name} + excluded.{name}" for name in _SUMS)}"""
TELL = {
    payer: f"""
INSERT INTO account (period, platform, workspace, payer, subject, told)
VALUES (?1, {platform}, {workspace}, '{payer}', {subject}, ?6)
ON CONFLICT (period, platform, workspace, payer, subject) DO UPDATE SET told = excluded.told"""
    for payer, platform, workspace, subject in _PAYERS
}

# What stands in `tokens` of a reservation whose hold has said what the turn cost: the turn's own columns have the amounts.
CHARGED = -1
_BILL = "r.epoch, r.platform, r.workspace, r.channel, r.user_id, r.day, r.minute, r.tokens, r.money"
BILL = f"""
SELECT c.platform, c.workspace, c.channel, t.prompt_tokens, t.completion_tokens, t.money, {_BILL}
FROM conversation c JOIN turn t ON t.id = ?1 LEFT JOIN reservation r ON r.turn_id = t.id
WHERE c.id = ?2 AND c.epoch = ?3 AND c.lease_until > ?4"""
PUT_BILL = """
INSERT INTO reservation (turn_id, epoch, platform, workspace, channel, user_id, day, minute, tokens, money, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (turn_id) DO UPDATE SET epoch = excluded.epoch, platform = excluded.platform, workspace = excluded.workspace,
  channel = excluded.channel, user_id = excluded.user_id, day = excluded.day, minute = excluded.minute,
  tokens = excluded.tokens, money = excluded.money, at = excluded.at"""
DROP_BILL = "DELETE FROM reservation WHERE turn_id = ?"
DROP_CHARGED = f"DELETE FROM reservation WHERE turn_id = ? AND tokens = {CHARGED}"
IS_CHARGED = f"SELECT 1 FROM reservation WHERE turn_id = ? AND epoch = ? AND tokens = {CHARGED}"
COST = "UPDATE turn SET prompt_tokens = ?2, completion_tokens = ?3, money = ?4 WHERE id = ?1"
# Nobody holds the turn any more on whose behalf it was set aside.
ABANDONED = f"""
SELECT r.turn_id, {_BILL} FROM reservation r WHERE r.at < ?1
AND NOT EXISTS (SELECT 1 FROM turn t JOIN conversation c ON c.id = t.conversation_id
  WHERE t.id = r.turn_id AND c.epoch = r.epoch AND c.lease_until > ?2)
ORDER BY r.at LIMIT ?3"""
BILLS_OF_WORKSPACE = f"SELECT r.turn_id, {_BILL} FROM reservation r WHERE r.platform = ? AND r.workspace = ?"

_USED = "sum(turns), sum(prompt_tokens), sum(completion_tokens), sum(money)"
# The days one by one: each is one short span of the accounts, while all that lies between them is everybody's.
USAGE = f"""
SELECT {{heading}}, {_USED} FROM account WHERE period IN (SELECT value FROM json_each(?1))
AND platform = ?2 AND workspace = ?3 AND payer = ?4 AND ?5 IN ('', subject) GROUP BY 1
HAVING sum(turns) + sum(prompt_tokens) + sum(completion_tokens) + sum(money) > 0
ORDER BY {{order}} LIMIT ?6"""
_OLD_ACCOUNTS = """
DELETE FROM account WHERE (period, platform, workspace, payer, subject) IN
  (SELECT period, platform, workspace, payer, subject FROM account WHERE period >= ?1 AND period < ?2 {but} LIMIT ?3)"""
FORGET_DAYS = _OLD_ACCOUNTS.format(but="")
# What is set aside in a minute is still to be taken off it.
FORGET_MINUTES = _OLD_ACCOUNTS.format(but="AND reserved_turns = 0")
PERIODS = """
WITH RECURSIVE known(period) AS (SELECT min(period) FROM account WHERE period > ?1
  UNION ALL SELECT (SELECT min(period) FROM account a WHERE a.period > known.period) FROM known WHERE period IS NOT NULL)
SELECT period FROM known WHERE period IS NOT NULL LIMIT ?2"""
CLEAR_ACCOUNTS = "DELETE FROM account WHERE period = ? AND platform = ? AND workspace = ?"
