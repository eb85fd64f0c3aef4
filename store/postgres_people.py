"""People on the PostgreSQL engine: the conversations that they take part in, and what they think of answers.

The SQL is in `store/postgres_functions/people.sql`.
"""

from datetime import datetime

from store.arguments import require_page, require_somebody
from store.errors import refuse_unstorable
from store.postgres_calls import PostgresCalls
from store.postgres_rows import summary_of
from store.rows import us_of
from store.values import SUMMARIES, ConversationSummary, Feedback


class PostgresPeople(PostgresCalls):
    """What people think, and where they spoke."""

    async def put_feedback(self, turn_id: int, user: str, value: Feedback, *, at: datetime) -> bool:
        refuse_unstorable(user)
        (kept,) = await self._one("put_feedback", turn_id, user, value.value, us_of(at))
        return bool(kept)

    async def conversations_of(
        self, platform: str, workspace: str, author_id: str, *, limit: int
    ) -> tuple[ConversationSummary, ...]:
        require_somebody(author_id)
        require_page(limit, SUMMARIES, "conversations")
        rows = await self._all("conversations_of", platform, workspace, author_id, limit)
        return tuple(summary_of(self._values, *row) for row in rows)
