"""The calls of `store.protocol_keeping.Keeping` on the PostgreSQL engine.

The SQL is in `store/postgres_functions/keeping.sql` and `forgetting.sql`.
"""

from datetime import datetime

from store.arguments import require_page, require_somebody
from store.errors import refuse_unstorable
from store.keeping import EXPORT_PAGE, ConversationFilter, ConversationRecord, Forgotten, Opinion, Opinions
from store.postgres_forgetting import FEEDBACK, PostgresForgetting
from store.postgres_rows import conversation_of, summary_of, window_of
from store.rows import LAST, refuse_all, time_of, turn_record_of, us_of
from store.values import SUMMARIES, Conversation, ConversationSummary, Feedback, Message, MessageName


class PostgresKeeping(PostgresForgetting):
    """The laws of `Keeping` on PostgreSQL."""

    async def conversations(
        self, platform: str, workspace: str, which: ConversationFilter, *, limit: int, before: int | None = None
    ) -> tuple[ConversationSummary, ...]:
        require_page(limit, SUMMARIES)
        wanted = (which.user, which.channel, "" if which.state is None else which.state.value)
        behind = LAST if before is None else before
        rows = await self._all("conversations", platform, workspace, *wanted, behind, limit)
        return tuple(summary_of(self._values, *row) for row in rows)

    async def record(self, platform: str, workspace: str, conversation_id: int) -> ConversationRecord | None:
        conversation, messages, people, turns = await self._one("record", platform, workspace, conversation_id)
        if conversation is None:
            return None
        return ConversationRecord(
            conversation=conversation_of(self._values, conversation),
            messages=messages,
            people=tuple(people),
            turns=tuple(turn_record_of(row) for row in turns or ()),
        )

    async def expire_now(self, platform: str, workspace: str, conversation_id: int, *, at: datetime) -> bool:
        (expired,) = await self._one("expire_now", platform, workspace, conversation_id, us_of(at))
        return bool(expired)

    async def restore(self, platform: str, workspace: str, conversation_id: int, *, at: datetime) -> bool:
        (restored,) = await self._one("restore", platform, workspace, conversation_id, us_of(at))
        return bool(restored)

    async def extend(self, conversation_id: int, *, at: datetime) -> None:
        await self._one("extend", conversation_id, us_of(at))

    async def put_persona(self, conversation_id: int, persona: str) -> None:
        refuse_unstorable(persona)
        kept = self._values.close_persona(persona, conversation_id)
        (replaced,) = await self._one("put_persona", conversation_id, *kept)
        if replaced:
            self._scrubber.mark()

    async def last_said(self, conversation_id: int, author_id: str) -> tuple[MessageName, ...]:
        return tuple(
            MessageName(platform=platform, workspace=workspace, channel=channel, id=id_)
            for platform, workspace, channel, id_ in await self._all("last_said", conversation_id, author_id)
        )

    async def conversations_with(
        self, platform: str, workspace: str, author_id: str, *, limit: int, after: int = 0
    ) -> tuple[Conversation, ...]:
        require_page(limit, EXPORT_PAGE)
        require_somebody(author_id)
        rows = await self._all("conversations_with", platform, workspace, author_id, limit, after)
        return tuple(conversation_of(self._values, row) for row in rows)

    async def said_in(self, conversation_id: int, author_id: str, *, limit: int, after: int = 0) -> tuple[Message, ...]:
        require_page(limit, EXPORT_PAGE)
        return window_of(self._values, *await self._one("said_in", conversation_id, author_id, limit, after))

    async def opinions(self, platform: str, workspace: str, author_id: str, *, after: int = 0) -> Opinions:
        require_somebody(author_id)
        found, following = await self._one("opinions", platform, workspace, author_id, after, FEEDBACK)
        return Opinions(
            opinions=tuple(
                Opinion(turn_id=turn_id, conversation_id=conversation_id, value=Feedback(value), at=time_of(at))
                for turn_id, conversation_id, value, at in found or ()
            ),
            next=following,
        )

    async def forget_person(self, platform: str, workspace: str, author_id: str, *, at: datetime) -> Forgotten:
        require_somebody(author_id)
        refuse_all(platform, workspace, author_id)
        return await self._forget_person(platform, workspace, author_id, us_of(at))

    async def scrub(self) -> None:
        await self._scrubber.scrub()
