"""What a store does, in the simplest words: dictionaries and lists, against which the real one is compared.

It knows nothing of SQL, transactions, positions of spans or counters: a turn is the list of the messages that it answers.
"""

import itertools
from dataclasses import dataclass, field
from datetime import datetime

from store import ConversationKey, Hold, TurnState
from store.protocol import TURN_MESSAGES


@dataclass
class ModelTurn:
    """A turn; `place` is its place in the line of all turns, which it keeps when it is tried again."""

    place: int
    address: str
    positions: list[int] = field(default_factory=list)
    state: TurnState = TurnState.QUEUED
    attempts: int = 0
    held_before: bool = False
    stop: bool = False
    error: str = ""
    answer: str | None = None
    answered: int | None = None
    parts: dict[int, str] = field(default_factory=dict)


@dataclass
class ModelConversation:
    """A conversation: what users said and what the bot said, each by position."""

    key: ConversationKey
    active_at: datetime
    ended: bool = False
    expired_at: datetime | None = None
    last: int = 0
    said: dict[int, str] = field(default_factory=dict)
    answers: dict[int, str] = field(default_factory=dict)
    turns: list[ModelTurn] = field(default_factory=list)
    hold: Hold | None = None
    """Who holds it now, with a lease that is not over."""

    def history(self, until: int | None = None) -> list[str]:
        places = [(position, 0, text) for position, text in self.said.items()]
        places += [(position, 1, text) for position, text in self.answers.items()]
        return [text for position, role, text in sorted(places) if until is None or (position, role) <= (until, 0)]

    def turn_in(self, *states: TurnState) -> ModelTurn | None:
        return next((turn for turn in self.turns if turn.state in states), None)

    @property
    def queued(self) -> ModelTurn | None:
        return self.turn_in(TurnState.QUEUED)

    @property
    def running(self) -> ModelTurn | None:
        return self.turn_in(TurnState.RUNNING, TurnState.DELIVERING)

    def move_answer(self, turn: ModelTurn) -> None:
        """Put the answer of an earlier try behind the last message that the turn answers by now."""
        until = max(turn.positions)
        if turn.answered is not None and turn.answered != until:
            self.answers[until] = self.answers.pop(turn.answered)
            turn.answered = until


class StoreModel:
    """The conversations by their ids."""

    def __init__(self) -> None:
        self.conversations: dict[int, ModelConversation] = {}
        self.seen: set[tuple[str, str]] = set()
        self._places = itertools.count()

    def current(self, key: ConversationKey) -> int | None:
        return next((id_ for id_, one in self.conversations.items() if one.key == key and not one.ended), None)

    def knows(self, key: ConversationKey, event_id: str, message_id: str, position: int | None) -> bool:
        """Is this a copy of something that was accepted?"""
        current = self.current(key)
        taken = current is not None and position is not None and position in self.conversations[current].said
        return taken or bool(self.seen & {("event", event_id), (key.channel, message_id)})

    def accept(
        self,
        id_: int,
        key: ConversationKey,
        event_id: str,
        message_id: str,
        position: int | None,
        text: str,
        address: str,
        at: datetime,
    ) -> None:
        self.seen |= {("event", event_id), (key.channel, message_id)}
        one = self.conversations.setdefault(id_, ModelConversation(key, at))
        one.active_at = max(one.active_at, at)
        place = one.last + 1 if position is None else position
        # The first position may be a negative one.
        one.last = place if not one.said and not one.answers else max(one.last, place)
        one.said[place] = text
        turn = one.queued
        if turn is None:
            turn = ModelTurn(next(self._places), address)
            one.turns.append(turn)
        turn.positions.append(place)
        turn.address = address

    def next_claim(self) -> int | None:
        """Whose turn is it?"""
        free = (
            (turn.place, id_)
            for id_, one in self.conversations.items()
            if one.hold is None
            for turn in (one.running or one.queued,)
            if turn
        )
        return min(free, default=(0, None))[1]

    def claim(self, id_: int, hold: Hold) -> ModelTurn:
        one = self.conversations[id_]
        turn = one.running or one.queued
        assert turn is not None
        one.hold = hold
        turn.held_before = turn.state is not TurnState.QUEUED
        turn.attempts += 1
        if turn.state is TurnState.QUEUED:
            turn.state = TurnState.RUNNING
            turn.positions.sort()
            rest = turn.positions[TURN_MESSAGES:]
            del turn.positions[TURN_MESSAGES:]
            if rest:
                one.turns.append(ModelTurn(next(self._places), turn.address, rest))
            one.move_answer(turn)
        return turn

    def holder(self, hold: Hold) -> tuple[ModelConversation, ModelTurn] | None:
        """The conversation and the turn of a hold that still counts."""
        one = self.conversations.get(hold.conversation_id)
        if one is None or one.hold != hold:
            return None
        assert one.running is not None
        return one, one.running

    @staticmethod
    def absorb(one: ModelConversation, turn: ModelTurn) -> bool:
        more = one.queued
        if more is None or len(turn.positions) + len(more.positions) > TURN_MESSAGES:
            return False
        turn.positions += more.positions
        turn.address = more.address
        one.turns.remove(more)
        one.move_answer(turn)
        return True

    def retry(self, id_: int) -> bool:
        one = self.conversations.get(id_)
        if one is None or not one.turns or one.queued or one.running or one.expired_at:
            return False
        turn = max(one.turns, key=lambda turn: turn.place)
        turn.state, turn.attempts, turn.stop, turn.error = TurnState.QUEUED, 0, False, ""
        return True

    def due(self, before: datetime) -> list[int]:
        """What `expire` would take, oldest first."""
        idle = [
            (one.active_at, id_)
            for id_, one in self.conversations.items()
            if not one.expired_at and one.active_at < before and not one.queued and not one.running
        ]
        return [id_ for _, id_ in sorted(idle)]
