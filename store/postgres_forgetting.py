"""Forgetting on the PostgreSQL engine: a conversation, all of a person, and what is due in an older copy of the store.

The SQL is in `store/postgres_functions/forgetting.sql`.
"""

import logging

from store.forgetting import Person, name_of
from store.keeping import Forgotten
from store.postgres_erasing import PostgresErasing
from store.rows import MICROSECOND
from store.tombstones import ERASED, KEPT, Kind, Tombstones

log = logging.getLogger(__name__)

LONG_AGO = 0
"""When conversations expired that are given up: before all others, so that they go first, and nobody sees them any more."""
CONVERSATIONS = 20
"""Conversations of a person that are looked at in one transaction."""
MESSAGES = 200
"""Messages of a person that are taken out in one transaction, and of one conversation: some hundredths of a second."""
FEEDBACK = 5000
"""Opinions, of anybody, that are looked through in one transaction."""
ROWS = 1000
"""Rows of what was given up that are erased in one transaction."""
PORTION = 5000
"""Rows that are looked through at once for what is due."""


class PostgresForgetting(PostgresErasing):
    """Conversations and people, erased for good."""

    async def delete(self, conversation_id: int) -> int:
        with self._begun():
            *key, created_at = await self._one("erasable", conversation_id)
            if created_at is None:
                return 0
            names = await self._names([name_of(key, conversation_id, created_at), (Kind.PLACE, tuple(key))])
            (gone,) = await self._one("erase", conversation_id, *names)
        self._scrubber.mark()
        return int(gone)

    async def _forget_person(self, platform: str, workspace: str, author_id: str, until: int) -> Forgotten:
        person = Person(platform, workspace, author_id, until)
        (name,) = await self._names([(Kind.PERSON, person.parts)])
        # If this process ends in the middle, the next opening goes on.
        await self._one("put_back", [name], [until], [None])
        forgotten = await self._forget(person)
        await self._one("done", [name], [until], [False])
        return forgotten

    async def _forget(self, person: Person) -> Forgotten:
        """Erase all of a person, in portions between which others are served."""
        whole = messages = 0
        after: int | None = 0
        try:
            while after is not None:
                portion = (*person.parts, person.until, after, CONVERSATIONS, MESSAGES, LONG_AGO)
                conversations, gone, after = await self._one("forget_portion", *portion)
                whole, messages = whole + conversations, messages + gone
            await self._erase_given_up()
            after = 0
            while after is not None:
                (after,) = await self._one("forget_feedback", *person.parts, person.until, after, FEEDBACK)
            await self._one("forget_accounts", *person.parts, *person.periods)
        finally:
            self._scrubber.mark()
        return Forgotten(conversations=whole, messages=messages)

    async def _erase_given_up(self) -> None:
        """Erase the conversations that nobody sees any more, so many rows at once."""
        try:
            while (await self._one("purge", LONG_AGO + 1, ROWS))[0]:
                pass
        finally:
            self._scrubber.mark()

    async def _forget_again(self) -> None:
        """Erase what is due before anybody is served: see `store.postgres_erasing`."""
        await self._one("drop_tombstones", KEPT // MICROSECOND)
        due = await self._know()
        if not due.of(*ERASED):
            return
        log.warning("%s has what was to be erased from it: that is erased now", self._pool.place)
        gone = await self._erase_due_conversations(due)
        messages = await self._erase_due_messages(due)
        people = await self._people(due)
        for person in people:
            await self._forget(person)
        await self._done(due)
        await self._know()
        log.warning("%d conversations, %d messages and %d people were erased", gone, messages, len(people))
        await self._scrubber.scrub()

    async def _erase_due_conversations(self, due: Tombstones) -> int:
        gone, after = 0, 0
        while due.of(Kind.CONVERSATION):
            rows = await self._all("conversations_after", after, PORTION)
            for id_, *key, created_at in rows:
                kind, parts = name_of(key, id_, created_at)
                if due.until(kind, *parts) is not None:
                    await self._one("erase", id_, "", "")
                    gone += 1
            if len(rows) < PORTION:
                break
            after = rows[-1][0]
        return gone

    async def _erase_due_messages(self, due: Tombstones) -> int:
        gone, after = 0, 0
        while due.of(Kind.MESSAGE):
            rows = await self._all("messages_after", after, PORTION)
            said = [(id_, name) for id_, *name, role in rows if role == 0 and name[3]]
            found = [id_ for id_, name in said if due.until(Kind.MESSAGE, *name) is not None]
            if found:
                gone += (await self._one("retract", found, []))[0]
            if len(rows) < PORTION:
                break
            after = rows[-1][0]
        return gone

    async def _people(self, due: Tombstones) -> tuple[Person, ...]:
        """Tell who of those in the store are to be forgotten."""
        if not due.of(Kind.PERSON):
            return ()
        return tuple(
            Person(platform, workspace, author, until)
            for platform, workspace, author in await self._all("everybody")
            if (until := due.until(Kind.PERSON, platform, workspace, author)) is not None
        )
