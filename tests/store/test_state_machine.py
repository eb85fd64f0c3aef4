"""Random histories on a real file, compared with a model of dictionaries after every step.

What it covers that single laws do not: every order of accept, claim, absorb, crash, retry, stop, end, delete, expire, purge
and reopening, with copies, late messages and overfull turns in between.
"""

import asyncio
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from store import Answer, ConversationNotFound, Ending, Hold, LeaseLost, Role, Store, TurnState, open_store
from tests.contracts.store_words import AT, FENCED, LEASE, MINUTE, OVER, message, room
from tests.fakes.clock import FakeClock
from tests.store.store_model import StoreModel

ROOMS = st.sampled_from([room("C1"), room("C2"), room("C1", thread="1")])
POSITIONS = st.none() | st.integers(-3, 40).map(lambda n: n * 1000)
SOON = st.integers(0, 9).map(lambda n: AT + n * MINUTE)
NUMBERS = st.integers(0, 2)
NOBODYS = Hold(turn_id=404, conversation_id=404, epoch=404)
FINAL = st.sampled_from([state for state in TurnState if state.final])


class StoreMachine(RuleBasedStateMachine):
    """One store, one model, and everything that may happen to both."""

    template: Path

    copies: Bundle[object] = Bundle("copies")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory(prefix="parley-machine-")
        self.place = Path(self.directory.name) / "parley.db"
        shutil.copy(self.template, self.place)
        self.clock = FakeClock()
        self.model = StoreModel()
        self.holds: list[Hold] = [NOBODYS]
        self.texts = 0
        self.store = self.open()

    def open(self) -> Store:
        return self.runner.run(open_store(f"sqlite:///{self.place}", clock=self.clock.now))

    def teardown(self) -> None:
        self.runner.run(self.store.aclose())
        self.runner.close()
        self.directory.cleanup()

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

    @rule(target=copies, key=ROOMS, position=POSITIONS, at=SOON)
    def somebody_speaks(self, key, position, at):
        current = self.model.current(key)
        told = current is not None and position in self.model.conversations[current].answers
        if told and position not in self.model.conversations[current].said:
            position = None  # an appended answer stands there: no platform's position is that low
        given = message(self.next_text(), key=key, position=position, at=at)
        self.accept(given)
        return given

    @rule(key=ROOMS)
    def somebody_speaks_and_is_heard_at_once(self, key):
        given = message(self.next_text(), key=key)
        current = self.model.current(key)
        one = self.model.conversations.get(current)
        at_rest = one is None or not (one.queued or one.running)
        accepted = self.runner.run(self.store.accept_and_claim(given, lease=LEASE, window=100))
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

    @rule(window=st.sampled_from([1, 5, 100]), lease=st.sampled_from([LEASE, LEASE, LEASE, OVER]))
    def a_worker_claims(self, window, lease):
        self.claim(window, lease)

    def claim(self, window, lease):
        expected = self.model.next_claim()
        claim = self.runner.run(self.store.claim(lease=lease, window=window, platforms=["slack"]))
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
        assert [m.text for m in claim.window] == one.history(until=max(turn.positions))[-window:]
        assert (claim.turn.state, claim.turn.attempts, claim.turn.error) == (turn.state, turn.attempts, turn.error)
        assert (claim.turn.address, dict(claim.parts), claim.recovered) == (turn.address, turn.parts, turn.held_before)
        shown = turn.answer if turn.state is TurnState.DELIVERING and not turn.error else None
        assert (claim.answer.text if claim.answer else None) == shown

    @rule()
    def a_turn_goes_well(self):
        hold = self.claim(100, LEASE)
        if hold is not None:
            self.finish(hold)
            self.settle(hold, TurnState.DONE)

    @rule(number=NUMBERS)
    def somebody_has_another_answer_made(self, number):
        self.retry(self.pick(number))
        self.claim(100, LEASE)

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
            assert (renewal.stop, renewal.waiting) == (turn.stop, one.queued is not None)

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

    @rule(who=NUMBERS)
    def a_worker_finishes(self, who):
        self.finish(self.holder(who))

    def finish(self, hold):
        text = self.next_text()
        if held := self.held(hold, self.store.finish(hold, Answer(text=text, ending=Ending.COMPLETE))):
            (one, turn), _ = held
            turn.state, turn.error, turn.answer, turn.answered = TurnState.DELIVERING, "", text, max(turn.positions)
            one.answers[turn.answered] = text

    @rule(who=NUMBERS)
    def a_worker_fails(self, who):
        hold = self.holder(who)
        if held := self.held(hold, self.store.finish(hold, None, error="model_down")):
            turn = held[0][1]
            turn.state, turn.error = TurnState.DELIVERING, "model_down"

    @rule(who=NUMBERS, state=FINAL)
    def a_worker_settles(self, who, state):
        self.settle(self.holder(who), state)

    def settle(self, hold, state):
        if held := self.held(hold, self.store.settle(hold, state)):
            (one, turn), _ = held
            turn.state, one.hold = state, None

    @rule(who=NUMBERS)
    def a_worker_gives_its_turn_back(self, who):
        hold = self.holder(who)
        if held := self.held(hold, self.store.release(hold)):
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

    @rule()
    def every_lease_runs_out(self):
        self.clock.set_wall_clock(2 * LEASE)
        for one in self.model.conversations.values():
            one.hold = None

    @rule()
    def the_process_starts_again(self):
        self.runner.run(self.store.aclose())
        self.store = self.open()
        for one in self.model.conversations.values():
            one.hold = None

    @rule(number=NUMBERS)
    def somebody_stops_it(self, number):
        id_ = self.pick(number)
        one = self.model.conversations.get(id_)
        stopped = self.runner.run(self.store.stop(id_))
        queued, running = (one.queued, one.running) if one else (None, None)
        assert ((stopped.queued is not None), (stopped.running is not None)) == (queued is not None, running is not None)
        if queued:
            queued.state = TurnState.CANCELLED
        if running:
            running.stop = True

    @rule(number=NUMBERS)
    def somebody_wants_another_answer(self, number):
        self.retry(self.pick(number))

    def retry(self, id_):
        assert self.runner.run(self.store.retry(id_)) == self.model.retry(id_)

    @rule(number=NUMBERS)
    def somebody_begins_anew(self, number):
        id_ = self.pick(number)
        if id_ in self.model.conversations:
            self.runner.run(self.store.end(id_, at=AT))
            self.model.conversations[id_].ended = True

    @rule(number=NUMBERS)
    def somebody_wants_to_be_forgotten(self, number):
        id_ = self.pick(number)
        one = self.model.conversations.pop(id_, None)
        assert self.runner.run(self.store.delete(id_)) == (len(one.said) + len(one.answers) if one else 0)

    @rule(before=SOON, limit=st.integers(1, 3))
    def the_sweeper_expires(self, before, limit):
        due = self.model.due(before)
        gone = self.runner.run(self.store.expire(before=before, at=AT, limit=limit))
        assert gone == min(limit, len(due))
        left = [self.model.conversations[id_].active_at for id_ in due[gone:]]
        for id_ in due:
            if gone and self.model.conversations[id_].active_at <= min(left, default=AT + timedelta(days=1)):
                # Of several that are equally old any may go first: the store is asked which.
                self.follow(id_)

    def follow(self, id_):
        """Learn from the store whether a conversation has expired: it is not tried again, and its key has moved on."""
        expired = self.runner.run(
            self.store._writer.run(
                lambda db: db.execute("SELECT expired_at IS NOT NULL FROM conversation WHERE id = ?", (id_,)).fetchone()[0]
            )
        )
        if expired:
            self.model.conversations[id_].expired_at = AT
            self.model.conversations[id_].ended = True

    @precondition(lambda self: any(one.expired_at for one in self.model.conversations.values()))
    @rule(limit=st.sampled_from([1, 5, 100]))
    def the_sweeper_purges(self, limit):
        while gone := self.runner.run(self.store.purge(before=AT + MINUTE, limit=limit)):
            assert gone <= limit
        expired = [id_ for id_, one in self.model.conversations.items() if one.expired_at]
        for id_ in expired:
            del self.model.conversations[id_]
            with pytest.raises(ConversationNotFound):
                self.runner.run(self.store.recent(id_, 1))

    @invariant()
    def the_histories_agree(self):
        for id_, one in self.model.conversations.items():
            assert [m.text for m in self.runner.run(self.store.recent(id_, 10_000))] == one.history()

    @rule()
    def an_operator_looks(self):
        status = self.runner.run(self.store.status())
        everyone = self.model.conversations.values()
        assert status.queued == sum(one.queued is not None for one in everyone)
        assert status.running == sum(one.running is not None for one in everyone)
        for key in (room("C1"), room("C2"), room("C1", thread="1")):
            found = self.runner.run(self.store.find(key))
            assert (found.id if found else None) == self.model.current(key)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once: every history begins with a copy."""
    path = tmp_path_factory.mktemp("template") / "empty.db"

    async def make() -> None:
        await (await open_store(f"sqlite:///{path}")).aclose()

    asyncio.run(make())
    return path


def test_random_histories_agree_with_the_model(template: Path) -> None:
    StoreMachine.template = template
    case = StoreMachine.TestCase
    case.settings = settings(
        max_examples=110,
        stateful_step_count=45,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    case().runTest()
