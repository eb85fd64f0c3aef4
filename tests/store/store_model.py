"""What a store does, in the simplest words: dictionaries and lists, against which the real one is compared.

It knows nothing of SQL, transactions, positions of spans or counters: a turn is the list of the messages that it answers.
"""

import itertools
from dataclasses import dataclass, field
from datetime import datetime

from store import RETRACTED, ConversationKey, Hold, Redo, TurnState
from store.values import TURN_MESSAGES


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
    redo: bool = False
    to_take_back: bool = False
    told: bool = False
    """Somebody knows that it is to be taken back."""

    @property
    def asked_to_stop(self) -> bool:
        return self.stop or self.redo or self.to_take_back

    @property
    def open(self) -> bool:
        return not self.state.final or self.to_take_back


@dataclass
class ModelConversation:
    """A conversation: what users said and what the bot said, each by position."""

    key: ConversationKey
    active_at: datetime
    ended: bool = False
    expired_at: datetime | None = None
    ended_before: bool = False
    """It had ended when it expired."""
    last: int = 0
    said: dict[int, str] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    """The positions of what users said, by the platform's names."""
    answers: dict[int, str] = field(default_factory=dict)
    turns: list[ModelTurn] = field(default_factory=list)
    hold: Hold | None = None
    """Who holds it now, with a lease that is not over."""
    held: ModelTurn | None = None
    """The turn that was claimed last."""

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

    @property
    def next(self) -> ModelTurn | None:
        """The turn that is to be claimed, when nobody holds one."""
        return min((turn for turn in self.turns if turn.open), key=lambda turn: turn.place, default=None)

    @property
    def latest(self) -> ModelTurn | None:
        return max((turn for turn in self.turns if turn.positions), key=lambda turn: turn.place, default=None)

    def move_answer(self, turn: ModelTurn) -> None:
        """Put the answer of an earlier try behind the last message that the turn answers by now."""
        until = max(sorted(turn.positions)[:TURN_MESSAGES] if turn.state is TurnState.QUEUED else turn.positions)
        if turn.answered is not None and turn.answered != until:
            self.answers[until] = self.answers.pop(turn.answered)
            turn.answered = until


class StoreModel:
    """The conversations by their ids, what operators decided, and one account for all."""

    def __init__(self) -> None:
        self.conversations: dict[int, ModelConversation] = {}
        self.paused: set[str] = set()
        """Channels; "" is the workspace."""
        self.running_most: int | None = None
        self.money = 0
        self.bills: dict[int, tuple[int, int]] = {}
        """What each turn's last holder has on the account, with its epoch."""
        self.seen: set[tuple[str, str]] = set()
        self.authors: dict[str, str] = {}
        """Who said what, by the platform's names, where it was not Ann."""
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
        one.last = max(one.last, place) if one.turns else place
        one.said[place] = text
        one.names[message_id] = place
        turn = one.queued
        if turn is None:
            turn = ModelTurn(next(self._places), address)
            one.turns.append(turn)
        turn.positions.append(place)
        turn.address = address

    def next_claim(self, per_workspace: int | None = None) -> int | None:
        """Whose turn is it?"""
        free = (
            (turn.place, id_)
            for id_, one in self.conversations.items()
            for turn in one.turns
            if turn.open and one.hold is None and not self.is_paused(one.key)
            if turn.state is not TurnState.QUEUED or (turn is one.next and not self.is_full(per_workspace))
        )
        return min(free, default=(0, None))[1]

    def is_paused(self, key: ConversationKey) -> bool:
        return bool(self.paused & {"", key.channel})

    def is_full(self, per_workspace: int | None) -> bool:
        most = per_workspace if self.running_most is None else self.running_most
        return most is not None and sum(one.hold is not None for one in self.conversations.values()) >= most

    def own_money(self, hold: Hold) -> int:
        """What a hold has on the account."""
        epoch, money = self.bills.get(hold.turn_id, (hold.epoch, 0))
        return money if epoch == hold.epoch else 0

    def bill(self, hold: Hold, money: int | None) -> None:
        """Put a bill in place of the one before; what another holder's was stays on the account."""
        if money is not None:
            self.money += money - self.own_money(hold)
            self.bills[hold.turn_id] = (hold.epoch, money)

    def claim(self, id_: int, hold: Hold) -> ModelTurn:
        one = self.conversations[id_]
        turn = one.next
        assert turn is not None
        one.hold, one.held = hold, turn
        turn.told = turn.to_take_back
        if turn.redo and turn.state is TurnState.RUNNING:
            turn.redo, turn.attempts = False, 0
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
        assert one.held is not None
        return one, one.held

    @staticmethod
    def absorb(one: ModelConversation, turn: ModelTurn) -> bool:
        more = one.queued
        if turn.to_take_back or more is None or len(turn.positions) + len(more.positions) > TURN_MESSAGES:
            return False
        turn.positions += more.positions
        turn.address = more.address
        one.turns.remove(more)
        one.move_answer(turn)
        return True

    def retry(self, id_: int) -> bool:
        one = self.conversations.get(id_)
        if one is None or one.latest is None or one.next or one.expired_at:
            return False
        self.again(one.latest)
        return True

    @staticmethod
    def again(turn: ModelTurn) -> None:
        turn.state, turn.attempts, turn.stop, turn.error, turn.redo = TurnState.QUEUED, 0, False, "", False

    def settle(self, one: ModelConversation, turn: ModelTurn, state: TurnState) -> None:
        one.hold = None
        if turn.to_take_back:
            turn.to_take_back = not turn.told
        elif turn.redo and not one.ended and not one.queued:
            self.again(turn)
        else:
            turn.state, turn.redo = state, False

    def where(self, channel: str, message_id: str) -> list[tuple[int, ModelConversation]]:
        """The conversations in which a message is kept."""
        return [
            (id_, one) for id_, one in self.conversations.items() if one.key.channel == channel and message_id in one.names
        ]

    def revise(self, one: ModelConversation, message_id: str, text: str) -> Redo:
        position = one.names[message_id]
        if one.said[position] == text:
            return Redo.SAME
        one.said[position] = text
        turn = next(turn for turn in one.turns if position in turn.positions)
        if turn.state is TurnState.QUEUED:
            return Redo.AGAIN
        if turn is not one.latest or one.ended:
            return Redo.KEPT
        if turn.state.final:
            self.again(turn)
        else:
            turn.redo, turn.stop = True, False
        return Redo.AGAIN

    def retract(self, channel: str, message_ids: list[str]) -> list[int]:
        touched: dict[int, ModelConversation] = {}
        losers: list[tuple[ModelConversation, ModelTurn]] = []
        for message_id in message_ids:
            self.seen.add((channel, message_id))
            for id_, one in self.where(channel, message_id):
                position = one.names.pop(message_id)
                del one.said[position]
                turn = next(turn for turn in one.turns if position in turn.positions)
                turn.positions.remove(position)
                touched[id_] = one
                losers.append((one, turn))
        for one, turn in losers:
            if turn.positions:
                one.move_answer(turn)
            elif turn.error != RETRACTED:
                self.take_back(one, turn)
        return sorted(touched)

    @staticmethod
    def take_back(one: ModelConversation, turn: ModelTurn) -> None:
        if turn.answered is not None:
            del one.answers[turn.answered]
            turn.answered = None
        shown = (TurnState.RUNNING, TurnState.DELIVERING, TurnState.UNDELIVERABLE)
        turn.to_take_back = bool(turn.parts) or turn.state in shown
        turn.attempts = 0 if turn.state.final else turn.attempts
        turn.state, turn.error, turn.stop, turn.redo = TurnState.CANCELLED, RETRACTED, False, False

    def close(self, channel: str, thread: str) -> list[int]:
        """End what is in a channel, or only in one of its threads."""
        ended = []
        for id_, one in self.conversations.items():
            if one.key.channel == channel and thread in ("", one.key.thread):
                if not one.ended:
                    ended.append(id_)
                one.ended = True
                if one.queued:
                    one.queued.state = TurnState.UNDELIVERABLE
        return sorted(ended)

    def expire(self, one: ModelConversation, at: datetime) -> None:
        one.ended_before, one.ended, one.expired_at = one.ended, True, at

    def restore(self, id_: int, at: datetime) -> bool:
        one = self.conversations.get(id_)
        if one is None or one.expired_at is None:
            return False
        followed = any(later > id_ and other.key == one.key for later, other in self.conversations.items())
        one.ended, one.expired_at, one.active_at = one.ended_before or followed, None, max(one.active_at, at)
        return True

    def forget(self, author: str) -> tuple[int, int]:
        """Erase all that somebody said; return how many conversations and messages went."""
        whole = 0
        before = sum(len(one.history()) for one in self.conversations.values())
        for id_, one in list(self.conversations.items()):
            theirs = [name for name in one.names if self.authors.get(name, "Ann") == author]
            if theirs and len(theirs) == len(one.names):
                del self.conversations[id_]
                whole += 1
            elif theirs:
                self.retract(one.key.channel, theirs)
        return whole, before - sum(len(one.history()) for one in self.conversations.values())

    def due(self, before: datetime) -> list[int]:
        """What `expire` would take, oldest first."""
        idle = [
            (one.active_at, id_)
            for id_, one in self.conversations.items()
            if not one.expired_at and one.active_at < before and not one.next
        ]
        return [id_ for _, id_ in sorted(idle)]
