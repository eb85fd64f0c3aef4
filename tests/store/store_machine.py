"""A store and a model of it side by side: people speak to both, and workers carry out the turns of both.

What else may happen, and the test, stands in `tests/store/test_state_machine.py`.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    rule,
)

from store import (
    Answer,
    Charge,
    ConversationNotFound,
    Ending,
    Hold,
    LeaseLost,
    Limit,
    Order,
    Payer,
    Period,
    Role,
    Store,
    TurnState,
    Unit,
    open_store,
)
from tests.contracts.store_words import AT, FENCED, MINUTE, OVER, message, room
from tests.fakes.clock import FakeClock
from tests.store.store_model import StoreModel

ROOMS = st.sampled_from([room("C1"), room("C2"), room("C1", thread="1")])
POSITIONS = st.none() | st.integers(-3, 40).map(lambda n: n * 1000)
SOON = st.integers(0, 9).map(lambda n: AT + n * MINUTE)
LEASE = timedelta(hours=1)
"""By the clock of a real server, too, no history lasts that long."""
NUMBERS = st.integers(0, 2)
NOBODYS = Hold(turn_id=404, conversation_id=404, epoch=404)
MOST = st.sampled_from([None, None, 1, 2])
COSTS = st.none() | st.integers(0, 60)
FINAL = st.sampled_from([state for state in TurnState if state.final])


def charge(money):
    return None if money is None else Charge(author_id="U1", prompt_tokens=money, money=money)


class Ground(Protocol):
    """An engine with a store of its own for one history, empty at first."""

    def open(self) -> Awaitable[Store]: ...

    def let_leases_run_out(self) -> None: ...

    ends_holds: bool
    """Nobody holds anything when the store is opened again: nobody else can have had it open."""

    def close(self) -> None: ...


class FileGround:
    """A file, copied from that of an empty store."""

    ends_holds = True

    def __init__(self, template: Path) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="parley-machine-")
        self._place = Path(self._directory.name) / "parley.db"
        self._clock = FakeClock()
        shutil.copy(template, self._place)

    def open(self) -> Awaitable[Store]:
        return open_store(f"sqlite:///{self._place}", clock=self._clock.now)

    def let_leases_run_out(self) -> None:
        self._clock.set_wall_clock(2 * LEASE)

    def close(self) -> None:
        self._directory.cleanup()


class TurnMachine(RuleBasedStateMachine):
    """One store, one model, people who speak and workers who answer."""

    ground_of_its_own: Callable[[], Ground]

    copies: Bundle[object] = Bundle("copies")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.ground = type(self).ground_of_its_own()
        self.model = StoreModel()
        self.holds: list[Hold] = [NOBODYS]
        self.texts = 0
        self.store = self.open()

    def open(self) -> Store:
        return self.runner.run(self.ground.open())

    def teardown(self) -> None:
        self.runner.run(self.store.aclose())
        self.runner.close()
        self.ground.close()

    def next_text(self) -> str:
        self.texts += 1
        return f"text {self.texts}"

    def pick(self, number: int) -> int:
        """Choose a conversation; with bad luck one that is not there."""
        return sorted(self.model.conversations)[number % len(self.model.conversations)] if self.model.conversations else 404

    def holder(self, who: int) -> Hold:
        """Choose one who holds a turn; when nobody does, one who did."""
        now = [hold for hold in self.holds if self.model.holder(hold)] or self.holds
        return now[-1 - who % len(now)]

    @initialize(target=copies, key=ROOMS)
    def somebody_says_hello(self, key):
        given = message(self.next_text(), key=key)
        self.accept(given)
        return given

    @rule(target=copies, key=ROOMS, position=POSITIONS, at=SOON, author=st.sampled_from(["Ann", "Bob"]))
    def somebody_speaks(self, key, position, at, author):
        current = self.model.current(key)
        told = current is not None and position in self.model.conversations[current].answers
        if told and position not in self.model.conversations[current].said:
            position = None  # an appended answer stands there: no platform's position is that low
        given = message(self.next_text(), key=key, position=position, at=at, author=author)
        self.model.authors[given.message_id] = author
        self.accept(given)
        return given

    @rule(key=ROOMS, most=MOST)
    def somebody_speaks_and_is_heard_at_once(self, key, most):
        given = message(self.next_text(), key=key)
        current = self.model.current(key)
        one = self.model.conversations.get(current)
        at_rest = one is None or (one.next is None and one.hold is None)
        at_rest = at_rest and not self.model.is_paused(key) and not self.model.is_full(most)
        accepted = self.runner.run(self.store.accept_and_claim(given, lease=LEASE, window=100, per_workspace=most))
        id_ = accepted.conversation_id
        self.model.accept(
            id_, given.key, given.event_id, given.message_id, given.position, given.text, given.address, given.at
        )
        assert (accepted.claim is not None) == at_rest
        if at_rest:
            self.compare(accepted.claim, self.model.claim(id_, accepted.claim.hold), 100)

    @rule(key=ROOMS, many=st.sampled_from([19, 21, 45]))
    def somebody_says_very_much(self, key, many):
        for _ in range(many):
            self.accept(message(self.next_text(), key=key))

    @rule(copy=copies)
    def a_platform_delivers_again(self, copy):
        self.accept(copy)

    def accept(self, given):
        known = self.model.knows(given.key, given.event_id, given.message_id, given.position)
        current = self.model.current(given.key)
        id_ = self.runner.run(self.store.accept(given))
        assert (id_ is None) == known
        if id_ is not None:
            assert id_ == current or (current is None and id_ > max(self.model.conversations, default=0))
            self.model.accept(
                id_, given.key, given.event_id, given.message_id, given.position, given.text, given.address, given.at
            )

    @rule(number=NUMBERS, at=SOON)
    def somebody_is_told_something(self, number, at):
        id_ = self.pick(number)
        one = self.model.conversations.get(id_)
        text = self.next_text()
        if one is None:
            with pytest.raises(ConversationNotFound):
                self.runner.run(self.store.append(id_, Role.ASSISTANT, text, at=at))
            return
        kept = self.runner.run(self.store.append(id_, Role.ASSISTANT, text, at=at))
        one.last += 1
        one.answers[one.last] = text
        one.active_at = max(one.active_at, at)
        assert (kept.position, kept.text) == (one.last, text)

    @rule(window=st.sampled_from([1, 5, 100]), lease=st.sampled_from([LEASE, LEASE, LEASE, OVER]), most=MOST)
    def a_worker_claims(self, window, lease, most):
        self.claim(window, lease, most)

    def claim(self, window, lease, most=None):
        expected = self.model.next_claim(most)
        claim = self.runner.run(
            self.store.claim(lease=lease, window=window, platforms=["slack"], per_workspace=most),
        )
        assert (claim.hold.conversation_id if claim else None) == expected
        if claim is None:
            return None
        self.compare(claim, self.model.claim(expected, claim.hold), window)
        one = self.model.conversations[expected]
        if lease == OVER:
            one.hold = None
        return claim.hold

    def compare(self, claim, turn, window):
        one = self.model.conversations[claim.hold.conversation_id]
        self.holds.append(claim.hold)
        if turn.positions:
            assert [m.text for m in claim.window] == one.history(until=max(turn.positions))[-window:]
        state = TurnState.DELIVERING if turn.to_take_back else turn.state
        assert (claim.turn.state, claim.turn.attempts, claim.turn.error) == (state, turn.attempts, turn.error)
        assert (claim.turn.address, dict(claim.parts), claim.recovered) == (turn.address, turn.parts, turn.held_before)
        shown = turn.answer if turn.state is TurnState.DELIVERING and not turn.error else None
        assert (claim.answer.text if claim.answer else None) == shown
        assert claim.stop == turn.stop

    @rule()
    def a_turn_goes_well(self):
        hold = self.claim(100, LEASE)
        if hold is not None:
            self.finish(hold)
            self.settle(hold, TurnState.DONE)

    @rule(who=NUMBERS)
    def somebody_goes_on_and_is_absorbed(self, who):
        hold = self.holder(who)
        one = self.model.conversations.get(hold.conversation_id)
        if one is not None and not one.ended:
            self.accept(message(self.next_text(), key=one.key))
            self.absorb(hold)

    @rule(who=NUMBERS)
    def a_worker_renews(self, who):
        hold = self.holder(who)
        if held := self.held(hold, self.store.renew(hold, lease=LEASE)):
            (one, turn), renewal = held
            assert (renewal.stop, renewal.waiting) == (turn.asked_to_stop, one.queued is not None)
            assert renewal.retracted == turn.to_take_back

    @rule(who=NUMBERS)
    def a_worker_absorbs(self, who):
        self.absorb(self.holder(who))

    def absorb(self, hold):
        if held := self.held(hold, self.store.absorb(hold, window=100)):
            (one, turn), absorbed = held
            assert self.model.absorb(one, turn) == (absorbed is not None)
            if absorbed is not None:
                assert [m.text for m in absorbed.window] == one.history(until=max(turn.positions))[-100:]
                assert absorbed.address == turn.address

    @rule(who=NUMBERS, number=NUMBERS)
    def a_worker_posts_a_part(self, who, number):
        hold = self.holder(who)
        name = self.next_text()
        if held := self.held(hold, self.store.record_part(hold, number, name)):
            held[0][1].parts[number] = name

    @rule(who=NUMBERS, cost=COSTS)
    def a_worker_finishes(self, who, cost):
        self.finish(self.holder(who), cost)

    def finish(self, hold, cost=None):
        text = self.next_text()
        answer = Answer(text=text, ending=Ending.COMPLETE)
        if held := self.held(hold, self.store.finish(hold, answer, charge=charge(cost))):
            (one, turn), finished = held
            self.model.bill(hold, cost)
            assert finished != turn.to_take_back
            if turn.to_take_back:
                turn.told = True
                return
            turn.state, turn.error, turn.answer, turn.answered = TurnState.DELIVERING, "", text, max(turn.positions)
            one.answers[turn.answered] = text

    @rule(who=NUMBERS, cost=COSTS)
    def a_worker_fails(self, who, cost):
        hold = self.holder(who)
        if held := self.held(hold, self.store.finish(hold, None, error="model_down", charge=charge(cost))):
            (_, turn), finished = held
            self.model.bill(hold, cost)
            assert finished != turn.to_take_back
            if turn.to_take_back:
                turn.told = True
                return
            turn.state, turn.error = TurnState.DELIVERING, "model_down"

    @rule(who=NUMBERS, state=FINAL)
    def a_worker_settles(self, who, state):
        self.settle(self.holder(who), state)

    def settle(self, hold, state):
        if held := self.held(hold, self.store.settle(hold, state)):
            (one, turn), _ = held
            self.model.settle(one, turn, state)

    @rule(who=NUMBERS, money=st.integers(0, 90))
    def a_worker_orders(self, who, money):
        hold = self.holder(who)
        limit = Limit(payer=Payer.ALL, unit=Unit.MONEY, period=Period.DAY, amount=150)
        order = Order(author_id="U1", tokens=money, money=money, limits=(limit,))
        if held := self.held(hold, self.store.reserve(hold, order)):
            _, grant = held
            assert (grant.refused is not None) == (self.model.money - self.model.own_money(hold) + money > 150)
            if grant.refused is None:
                self.model.bill(hold, money)

    @rule(who=NUMBERS, cost=COSTS)
    def a_worker_gives_its_turn_back(self, who, cost):
        hold = self.holder(who)
        if held := self.held(hold, self.store.release(hold, charge=charge(cost))):
            self.model.bill(hold, cost)
            (one, turn), _ = held
            turn.attempts -= 1
            one.hold = None

    def held(self, hold, call):
        """Carry out what a holder does; None when it held no longer, and was told so."""
        held = self.model.holder(hold)
        if held is None:
            with pytest.raises(LeaseLost):
                self.runner.run(call)
            return None
        return held, self.runner.run(call)

    @rule(number=st.integers(0, 9), call=st.sampled_from(list(FENCED)))
    def a_ghost_comes_back(self, number, call):
        gone = [hold for hold in self.holds if not self.model.holder(hold)]
        if gone:
            with pytest.raises(LeaseLost):
                self.runner.run(FENCED[call](self.store, gone[-1 - number % len(gone)]))
