"""The calls of `store.protocol_keeping.Keeping` on the SQLite engine: arguments are checked here."""

import logging
from datetime import datetime

from store import sqlite_conversations as conversations
from store import sqlite_forgetting as forgetting
from store import sqlite_lifetimes as lifetimes
from store import sqlite_listing as listing
from store import sqlite_older_copies as older_copies
from store.arguments import require_page, require_somebody
from store.errors import refuse_unstorable
from store.forgetting import Person
from store.keeping import EXPORT_PAGE, ConversationFilter, ConversationRecord, Forgotten, Opinions
from store.rows import refuse_all, us_of
from store.sqlite_calls import SqliteCalls
from store.sqlite_workspaces import LONG_AGO
from store.tombstones import ERASED
from store.values import SUMMARIES, Conversation, ConversationSummary, Message, MessageName

log = logging.getLogger(__name__)

FORGET_ROWS = 1000
"""Rows of a person's conversations that are erased in one transaction."""


class SqliteKeeping(SqliteCalls):
    """The laws of `Keeping` on SQLite."""

    async def conversations(
        self, platform: str, workspace: str, which: ConversationFilter, *, limit: int, before: int | None = None
    ) -> tuple[ConversationSummary, ...]:
        require_page(limit, SUMMARIES)
        return await self._run(listing.conversations, platform, workspace, which, limit, before)

    async def record(self, platform: str, workspace: str, conversation_id: int) -> ConversationRecord | None:
        return await self._run(listing.record, platform, workspace, conversation_id)

    async def expire_now(self, platform: str, workspace: str, conversation_id: int, *, at: datetime) -> bool:
        return await self._run_now(lifetimes.expire_now, platform, workspace, conversation_id, us_of(at))

    async def restore(self, platform: str, workspace: str, conversation_id: int, *, at: datetime) -> bool:
        return await self._run(lifetimes.restore, platform, workspace, conversation_id, us_of(at))

    async def extend(self, conversation_id: int, *, at: datetime) -> None:
        await self._run(lifetimes.extend, conversation_id, us_of(at))

    async def put_persona(self, conversation_id: int, persona: str) -> None:
        refuse_unstorable(persona)
        await self._erase(lifetimes.put_persona, conversation_id, persona)

    async def last_said(self, conversation_id: int, author_id: str) -> tuple[MessageName, ...]:
        return await self._run(listing.last_said, conversation_id, author_id)

    async def conversations_with(
        self, platform: str, workspace: str, author_id: str, *, limit: int, after: int = 0
    ) -> tuple[Conversation, ...]:
        require_page(limit, EXPORT_PAGE)
        require_somebody(author_id)
        return await self._run(listing.conversations_with, platform, workspace, author_id, limit, after)

    async def said_in(self, conversation_id: int, author_id: str, *, limit: int, after: int = 0) -> tuple[Message, ...]:
        require_page(limit, EXPORT_PAGE)
        return await self._run(listing.said_in, conversation_id, author_id, limit, after)

    async def opinions(self, platform: str, workspace: str, author_id: str, *, after: int = 0) -> Opinions:
        require_somebody(author_id)
        return await self._run(listing.opinions, platform, workspace, author_id, after)

    async def forget_person(self, platform: str, workspace: str, author_id: str, *, at: datetime) -> Forgotten:
        require_somebody(author_id)
        refuse_all(platform, workspace, author_id)
        person = Person(platform, workspace, author_id, us_of(at))
        await self._run_now(forgetting.begin_to_forget, self._ledger, person)
        forgotten = await self._forget(person)
        await self._run_now(forgetting.end_forgetting, self._ledger, person)
        await self._scrub_at_once()
        return forgotten

    async def _forget(self, person: Person) -> Forgotten:
        """Erase all of a person but the accounts, in portions between which others are served."""
        whole = messages = 0
        after: int | None = 0
        while after is not None:
            portion = await self._erase(forgetting.forget_conversations, person, after)
            whole, messages, after = whole + portion.conversations, messages + portion.messages, portion.next
        await self._erase_given_up(FORGET_ROWS)
        after = 0
        while after is not None:
            after = await self._run(forgetting.forget_feedback, person, after)
        return Forgotten(conversations=whole, messages=messages)

    async def _erase_given_up(self, rows: int) -> None:
        """Erase the conversations that nobody sees any more, so many rows at once."""
        while await self._erase(conversations.purge, LONG_AGO + 1, rows):
            pass

    async def _forget_again(self) -> None:
        """Erase what is in this store and was erased from the one in whose place it was put."""
        new = await older_copies.know(self._writer, self._ledger, self._now)
        if not new.of(*ERASED):
            return
        log.warning("%s is older than the ledger beside it: what was erased since is erased again", self._writer.place)
        gone = await older_copies.erase_conversations(self._writer, new)
        messages = await older_copies.erase_messages(self._writer, new, self._now)
        people = await older_copies.people(self._writer, new)
        for person in people:
            await self._forget(person)
            await self._run(forgetting.forget_accounts, person)
        await older_copies.done(self._writer, self._ledger, new)
        self._scrubber.mark()
        self._scrubber.wake()
        await self._scrub_at_once()
        log.warning("%d conversations, %d messages and %d people were erased again", gone, messages, len(people))

    def _now(self) -> int:
        return us_of(self._clock())

    async def scrub(self) -> None:
        await self._scrubber.scrub()
