"""Messages on the PostgreSQL engine that a platform names later: found again, revised, retracted, their attachments read.

The SQL is in `store/postgres_functions/edits.sql`.
"""

from collections.abc import Collection

from store.arguments import require_read
from store.errors import refuse_unstorable
from store.postgres_erasing import PostgresErasing
from store.postgres_rows import conversation_of
from store.rows import ROLES, columns_of_name, known_names
from store.seals import what_file, what_text
from store.tombstones import Kind
from store.values import Ending, Feedback, Hold, Located, MessageName, Redo, Revised, TurnFacts, TurnState


class PostgresEdits(PostgresErasing):
    """Edits, retractions, and what is known of messages and turns."""

    async def keep_attachment(
        self, hold: Hold, message_id: int, number: int, data: bytes | None, *, problem: str = ""
    ) -> None:
        require_read(data, problem)
        kept = self._values.close_data(data, hold.conversation_id, what_file("data", message_id, number))
        fence = (hold.turn_id, hold.conversation_id, hold.epoch)
        await self._one("keep_attachment", *fence, message_id, number, kept, problem)

    async def locate(self, name: MessageName) -> Located | None:
        role, turn_id, conversation = await self._one("locate", *columns_of_name(name))
        if conversation is None:
            return None
        return Located(conversation=conversation_of(self._values, conversation), role=ROLES[role], turn_id=turn_id)

    async def facts(self, turn_id: int) -> TurnFacts | None:
        conversation, state, latest, ending, authors, feedback = await self._one("facts", turn_id)
        if conversation is None:
            return None
        return TurnFacts(
            conversation=conversation_of(self._values, conversation),
            state=TurnState(state),
            authors=frozenset(authors),
            latest=latest,
            ending=None if ending is None else Ending(ending),
            feedback={user: Feedback(value) for user, value in (feedback or {}).items()},
        )

    async def revise(self, name: MessageName, text: str) -> Revised | None:
        refuse_unstorable(text)
        columns = columns_of_name(name)
        with self._begun():
            # What is sealed is compared and sealed here, so its conversation has to be known first.
            while found := await self._all("said", *columns):
                message_id, conversation_id, _, old, _ = found[0]
                what = what_text(0)
                if self._values.open_text(old, conversation_id, what) == text:
                    return Revised(conversation_id=conversation_id, redo=Redo.SAME)
                kept = self._values.close_text(text, conversation_id, what)
                (again,) = await self._one("revise", message_id, conversation_id, old, kept)
                if again is not None:  # else somebody else was faster
                    self._scrubber.mark()
                    return Revised(conversation_id=conversation_id, redo=Redo.AGAIN if again else Redo.KEPT)
        return None

    async def retract(self, names: Collection[MessageName]) -> tuple[int, ...]:
        columns = [columns_of_name(name) for name in names]
        with self._begun():
            # Before it is looked for: what somebody takes in at this moment is waited for here, and found after that.
            await self._one("bar", known_names(columns))
            found = await self._all("all_said", *([row[n] for row in columns] for n in range(4)))
            if not found:
                return ()
            stones = await self._names([(Kind.MESSAGE, tuple(row[2:])) for row in found])
            await self._one("retract", [row[0] for row in found], stones)
        self._scrubber.mark()
        return tuple(sorted({row[1] for row in found}))
