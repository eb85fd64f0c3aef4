"""Who may do what: one answer for commands, buttons, shortcuts, modals, autocomplete and home pages, and the log of it.

Nothing is asked of a platform here: what somebody is comes with the `Caller`. What somebody may see or change is theirs in
the workspace where they act, and nowhere else.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import IntEnum

import structlog

from bot.chat import words_governing as words
from bot.chat.access import Refusal
from bot.chat.callers import Caller, Kind
from bot.chat.policy import CONSOLE
from bot.chat.rules import RuleBook
from bot.chat.seldom import Seldom
from bot.clock import Clock, time_limit
from store import AuditEntry, Store, StoreError

NOTED_EVERY = timedelta(minutes=1)
"""A person's refused tries of one action are written down once in this time: nobody floods the log."""
NOTE_PATIENCE = timedelta(seconds=1)
"""How long a refusal waits until it is written down: people are to hear of it within the three seconds of the platforms."""

TARGET_LENGTH = 200
"""Characters of a target that are written down: people may type anything as one."""

log = structlog.get_logger(__name__)


class Rank(IntEnum):
    """What somebody may do at a place; each rank has the rights of those below it."""

    ANYONE = 0
    """Also who may not speak there: what is kept of them is theirs, to take away and to have erased."""
    PERSON = 1
    """May speak there."""
    OPERATOR = 2
    """Runs the bot in this workspace."""
    HOST = 3
    """Runs the bot itself: is named in the setting `OPERATORS`, or sits at the terminal."""


class Authority:
    """Judges callers, and writes down what was refused and what operators did."""

    def __init__(
        self, store: Store, rules: RuleBook, clock: Clock, *, operators: Collection[str], owners: bool = True
    ) -> None:
        """`operators` are the hosts, as `discord:<user id>` and `slack:<team id>/<user id>`; an empty list means nobody but
        who sits at the terminal. `owners`: a workspace's owners operate it."""
        self._store = store
        self._rules = rules
        self._clock = clock
        self._hosts = frozenset(operators)
        self._owners = owners
        self._noted = Seldom(clock, NOTED_EVERY)

    def rank(self, caller: Caller) -> Rank | None:
        """Return what a caller may do where they are; None for a bot, which may speak at most."""
        if caller.standing.kind is Kind.BOT:
            return None
        if self._is_host(caller):
            return Rank.HOST
        if self._owns(caller) or self._operates_by_a_group(caller):
            return Rank.OPERATOR
        return Rank.PERSON if self._refusal(caller) is None else Rank.ANYONE

    def may_speak(self, caller: Caller) -> str:
        """Return "" when a caller may speak to the bot where they are, else the sentence that says why not."""
        if caller.standing.kind is not Kind.BOT and self._is_host(caller):
            return ""
        refusal = self._refusal(caller)
        return "" if refusal is None else words.REFUSALS[refusal]

    def may_appoint(self, caller: Caller) -> bool:
        """Tell whether a caller may say who operates the workspace: its owner and hosts. Groups of operators may not, else
        one of them could hand the bot to anybody."""
        return caller.standing.kind is not Kind.BOT and (self._is_host(caller) or self._owns(caller))

    async def authorise(self, caller: Caller, action: str, needs: Rank, *, target: str = "") -> str:
        """Return "" when a caller may do something that needs a rank, else the sentence for them; never raises.

        A refused try is written in the log of governing, so far as that can be written; it stays refused.
        """
        rank = self.rank(caller)
        if rank is not None and rank >= needs:
            return ""
        await self._note_refusal(caller, action, target)
        if rank is None:
            return words.REFUSALS[Refusal.BOT]
        if needs is Rank.PERSON:
            return self.may_speak(caller)
        # Others are not told that there is anything to operate.
        return words.HOSTS_ONLY if rank is Rank.OPERATOR else words.NO_SUCH_COMMAND

    async def authorise_appointing(self, caller: Caller, action: str, *, target: str = "") -> str:
        """Do as `authorise` for saying who operates the workspace (`may_appoint`)."""
        if self.may_appoint(caller):
            return ""
        if sentence := await self.authorise(caller, action, Rank.OPERATOR, target=target):
            return sentence
        await self._note_refusal(caller, action, target)
        return words.OWNERS_ONLY

    async def note(
        self, caller: Caller, action: str, *, target: str = "", before: str = "", after: str = "", at: datetime
    ) -> None:
        """Write in the log of governing that an operator did something. Settings are written down as they are kept.

        Raises:
            StoreUnavailable, UnstorableText: it is not written down, so it is not to be done.
        """
        await self._store.audit(_entry(caller, action, target, before=before, after=after, allowed=True, at=at))

    def _is_host(self, caller: Caller) -> bool:
        if caller.platform == CONSOLE:
            return True  # who sits there owns the file and the process
        within = "" if caller.platform == "discord" else f"{caller.workspace}/"
        return f"{caller.platform}:{within}{caller.user_id}" in self._hosts

    def _owns(self, caller: Caller) -> bool:
        # Slack says of people of other organisations what they own there.
        standing = caller.standing
        return self._owners and caller.workspace != "" and standing.owner and standing.kind is Kind.MEMBER

    def _operates_by_a_group(self, caller: Caller) -> bool:
        standing = caller.standing
        if standing.kind not in (Kind.MEMBER, Kind.GUEST) or not standing.groups_known or caller.workspace == "":
            return False
        if self._rules.access(caller.platform, caller.workspace).denies(caller.user_id, standing.groups):
            return False
        return not standing.groups.isdisjoint(self._rules.operating_groups(caller.platform, caller.workspace))

    def _refusal(self, caller: Caller) -> Refusal | None:
        bots = self._rules.of(caller.platform, caller.workspace, caller.channel).bots
        return self._rules.access(caller.platform, caller.workspace).refusal(caller, bots=bots)

    async def _note_refusal(self, caller: Caller, action: str, target: str) -> None:
        name = (caller.platform, caller.workspace, caller.user_id, action)
        if not self._noted.due(name):
            return
        entry = _entry(caller, action, target, allowed=False, at=self._clock.now())
        try:
            async with time_limit(self._clock, NOTE_PATIENCE):
                await self._store.audit(entry)
        except (StoreError, TimeoutError) as exc:
            self._noted.take_back(name)
            log.error("authority.not_noted", action=action, platform=caller.platform, reason=str(exc) or "it took too long")
        else:
            log.warning("authority.refused", action=action, platform=caller.platform)


def _entry(
    caller: Caller, action: str, target: str, *, before: str = "", after: str = "", allowed: bool, at: datetime
) -> AuditEntry:
    return AuditEntry(
        platform=caller.platform,
        workspace=caller.workspace,
        channel=caller.channel,
        author_id=caller.user_id,
        action=action,
        target=target[:TARGET_LENGTH],
        before=before,
        after=after,
        allowed=allowed,
        at=at,
    )
