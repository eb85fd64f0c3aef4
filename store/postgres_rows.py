"""What functions of the PostgreSQL engine return, as the values of `store.values`; the types stand in `types.sql`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from store.postgres_pool import Row
from store.rows import message_of, time_of
from store.seals import Values, what_file, what_text
from store.values import (
    Answer,
    Attachment,
    Claim,
    Conversation,
    ConversationKey,
    ConversationSummary,
    Ending,
    Hold,
    Message,
    Turn,
    TurnState,
)


class Held(NamedTuple):
    """A row of `parley_held`."""

    conversation_id: int
    turn_id: int
    epoch: int
    state: str
    attempts: int
    address: str
    queued_at: int
    error: str
    platform: str
    workspace: str
    channel: str
    thread: str
    user: str
    persona: str
    persona_sealed: int
    stop: int
    recovered: bool
    answer: list[Any] | None
    parts: list[list[Any]] | None
    messages: list[list[Any]] | None
    files: list[list[Any]] | None
    data: list[bytes] | None

    @property
    def hold(self) -> Hold:
        """The right to carry it out."""
        return Hold(turn_id=self.turn_id, conversation_id=self.conversation_id, epoch=self.epoch)


def conversation_of(values: Values, row: Row) -> Conversation:
    """Read a row of `parley_conversation`."""
    return Conversation(
        id=row[0],
        key=ConversationKey(platform=row[1], workspace=row[2], channel=row[3], thread=row[4], user=row[5]),
        created_at=time_of(row[6]),
        active_at=time_of(row[7]),
        ended_at=None if row[8] is None else time_of(row[8]),
        expired_at=None if row[9] is None else time_of(row[9]),
        persona=values.open_persona(row[10], row[11], row[0]),
    )


def summary_of(values: Values, conversation: Row, messages: int) -> ConversationSummary:
    """Read a conversation in a list."""
    return ConversationSummary(conversation=conversation_of(values, conversation), messages=messages)


def window_of(
    values: Values,
    messages: Sequence[Sequence[Any]] | None,
    files: Sequence[Sequence[Any]] | None,
    data: Sequence[bytes] | None,
) -> tuple[Message, ...]:
    """Read the columns of `parley_window`.

    Raises:
        StoreDamaged: something in it can't be opened.
    """
    if messages is None:
        return ()
    attached = _files_of(values, {row[0]: row[1] for row in messages}, files, data or ()) if files else {}
    if values.seal is not None:
        for row in messages:
            row[6] = values.open_text(row[6], row[1], what_text(row[2]))  # type: ignore[index]  # a list of JSON's
    return tuple(message_of(*row, attached.get(row[0], ())) for row in messages)


def _files_of(
    values: Values, conversations: dict[int, int], files: Sequence[Sequence[Any]], data: Sequence[bytes]
) -> dict[int, tuple[Attachment, ...]]:
    attached: dict[int, tuple[Attachment, ...]] = {}
    for message_id, number, name, media_type, size, url, problem, place in files:
        conversation_id = conversations[message_id]
        kept = None
        if place is not None:
            kept = values.open_data(data[place], conversation_id, what_file("data", message_id, number))
        file = Attachment(
            number=number,
            name=values.open_text(name, conversation_id, what_file("name", message_id, number)),
            media_type=media_type,
            size=size,
            url=values.open_text(url, conversation_id, what_file("address", message_id, number)),
            data=kept,
            problem=problem,
        )
        attached[message_id] = (*attached.get(message_id, ()), file)
    return attached


def claim_of(values: Values, held: Held, *, asked_to_stop: bool) -> Claim:
    """Read a turn that was taken hold of.

    Raises:
        StoreDamaged: something in it can't be opened.
    """
    answer = None
    if held.answer is not None:
        text, ending, model, prompt_tokens, completion_tokens = held.answer
        answer = Answer(
            text=values.open_text(text, held.conversation_id, what_text(1)),
            ending=Ending(ending),
            model=model,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
        )
    return _claim(
        held,
        state=TurnState(held.state),
        error=held.error,
        window=window_of(values, held.messages, held.files, held.data),
        answer=answer,
        persona=values.open_persona(held.persona, held.persona_sealed, held.conversation_id),
        stop=asked_to_stop,
    )


def damaged_claim_of(held: Held, error: str, *, asked_to_stop: bool) -> Claim:
    """Read of a turn what can be read; `error` is what it ends with."""
    delivering = TurnState.DELIVERING
    return _claim(held, state=delivering, error=error, window=(), answer=None, persona="", stop=asked_to_stop)


def _claim(
    held: Held,
    *,
    state: TurnState,
    error: str,
    window: tuple[Message, ...],
    answer: Answer | None,
    persona: str,
    stop: bool,
) -> Claim:
    return Claim(
        hold=held.hold,
        turn=Turn(
            id=held.turn_id,
            conversation_id=held.conversation_id,
            state=state,
            attempts=held.attempts,
            address=held.address,
            queued_at=time_of(held.queued_at),
            error=error,
        ),
        key=ConversationKey(
            platform=held.platform, workspace=held.workspace, channel=held.channel, thread=held.thread, user=held.user
        ),
        window=window,
        answer=answer,
        recovered=held.recovered,
        stop=stop,
        persona=persona,
        parts=dict(held.parts or ()),
    )
