"""Random histories on a real file and on a real PostgreSQL, compared with a model of dictionaries after every step.

What it covers that single laws do not: every order of accept, claim, absorb, crash, retry, stop, revise, retract, close,
end, delete, forget, expire, restore, purge, pause and reopening, with copies, late messages and overfull turns in between;
and that what is set aside and charged adds up, whoever is lost on the way.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from store import (
    ON,
    PAUSED,
    WORKSPACE_RUNNING,
    ConversationNotFound,
    Payer,
    Period,
    Setting,
    Spot,
    Store,
    TurnState,
    open_store,
)
from tests.contracts.store_words import AT, MINUTE, named, room
from tests.store.conftest import EMPTY
from tests.store.store_machine import LEASE, MOST, NUMBERS, ROOMS, SOON, FileGround, Ground, TurnMachine

SPOTS = st.sampled_from([None, Spot(platform="slack", workspace="T1"), Spot(platform="slack", workspace="T1", channel="C1")])


def lies_in(key, spot, anywhere):
    return anywhere if spot is None else spot.channel in ("", key.channel)


class StoreMachine(TurnMachine):
    """Everything else that may happen: people who change their minds, crashes, and the sweeper."""

    copies = TurnMachine.copies

    @rule()
    def every_lease_runs_out(self):
        self.ground.let_leases_run_out()
        for one in self.model.conversations.values():
            one.hold = None

    @rule()
    def the_process_starts_again(self):
        self.runner.run(self.store.aclose())
        self.store = self.open()
        if self.ground.ends_holds:
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
            running.stop, running.redo = True, False

    @rule(number=NUMBERS)
    def somebody_has_another_answer_made(self, number):
        self.retry(self.pick(number))
        self.claim(100, LEASE)

    @rule(number=NUMBERS)
    def somebody_wants_another_answer(self, number):
        self.retry(self.pick(number))

    def retry(self, id_):
        assert self.runner.run(self.store.retry(id_)) == self.model.retry(id_)

    @rule(copy=copies, same=st.booleans())
    def somebody_edits_what_was_said(self, copy, same):
        self.revise(copy.key.channel, copy.message_id, copy.text if same else self.next_text())

    @rule(who=NUMBERS, back=st.integers(0, 3))
    def somebody_edits_what_is_being_answered(self, who, back):
        """Other than by luck: of all that was said the last question counts most."""
        if found := self.lately_said(who, back):
            self.revise(*found, self.next_text())

    def revise(self, channel, message_id, text):
        revised = self.runner.run(self.store.revise(named(message_id, key=room(channel)), text))
        kept = self.model.where(channel, message_id)
        assert (revised is not None) == bool(kept)
        for id_, one in kept:
            assert (revised.conversation_id, revised.redo) == (id_, self.model.revise(one, message_id, text))

    @rule(gone=st.lists(copies, min_size=1, max_size=3))
    def somebody_deletes_what_was_said(self, gone):
        channel = gone[0].key.channel
        self.retract(channel, [copy.message_id for copy in gone])

    @rule(who=NUMBERS, back=st.integers(0, 3), many=st.sampled_from([1, 1, 5, 25]))
    def somebody_deletes_what_is_being_answered(self, who, back, many):
        if found := self.lately_said(who, back):
            channel, message_id = found
            ((_, one),) = self.model.where(channel, message_id)
            names = sorted(one.names, key=lambda name: one.names[name], reverse=True)
            self.retract(channel, names[names.index(message_id) :][:many])

    def lately_said(self, who, back):
        """Choose a conversation, and one of the last messages in it."""
        one = self.model.conversations.get(self.holder(who).conversation_id)
        if one is None or not one.names:
            return None
        names = sorted(one.names, key=lambda name: one.names[name])
        return one.key.channel, names[-1 - back % len(names)]

    def retract(self, channel, message_ids):
        touched = self.runner.run(self.store.retract([named(name, key=room(channel)) for name in message_ids]))
        assert list(touched) == self.model.retract(channel, message_ids)

    @rule(key=ROOMS)
    def a_place_is_gone(self, key):
        ended = self.runner.run(self.store.close("slack", "T1", key.channel, key.thread, at=AT))
        assert list(ended) == self.model.close(key.channel, key.thread)

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

    @rule(before=SOON, limit=st.integers(1, 3), within=SPOTS, but=SPOTS)
    def the_sweeper_expires(self, before, limit, within, but):
        spared = () if but is None else (but,)
        gone, since = 0, None
        while True:
            batch = self.runner.run(
                self.store.expire(before=before, at=AT, limit=limit, within=within, but=spared, since=since)
            )
            assert batch.looked_at <= limit
            gone, since = gone + batch.expired, batch.next
            if since is None:
                break
        due = [self.model.conversations[id_] for id_ in self.model.due(before)]
        due = [one for one in due if lies_in(one.key, within, True) and not lies_in(one.key, but, False)]
        assert gone == len(due)
        for one in due:
            self.model.expire(one, AT)

    @rule(number=NUMBERS)
    def an_operator_ends_a_conversation(self, number):
        id_ = self.pick(number)
        one = self.model.conversations.get(id_)
        there = one is not None and one.expired_at is None
        assert self.runner.run(self.store.expire_now("slack", "T1", id_, at=AT)) == there
        if there:
            queued, running = one.queued, one.running
            self.model.expire(one, AT)
            if queued:
                queued.state = TurnState.CANCELLED
            if running:
                running.stop, running.redo = True, False

    @rule(number=NUMBERS, at=SOON)
    def an_operator_takes_an_end_back(self, number, at):
        id_ = self.pick(number)
        assert self.runner.run(self.store.restore("slack", "T1", id_, at=at)) == self.model.restore(id_, at)

    @rule(author=st.sampled_from(["Ann", "Bob"]))
    def somebody_wants_everything_of_theirs_forgotten(self, author):
        gone = self.runner.run(self.store.forget_person("slack", "T1", f"U-{author}", at=AT + 10 * MINUTE))
        assert (gone.conversations, gone.messages) == self.model.forget(author)

    @rule(channel=st.sampled_from(["", "C1", "C2"]), go_on=st.booleans())
    def an_operator_pauses(self, channel, go_on):
        self.decide(Setting(platform="slack", workspace="T1", channel=channel, name=PAUSED, value="" if go_on else ON))
        (self.model.paused.discard if go_on else self.model.paused.add)(channel)

    @precondition(lambda self: self.model.paused)
    @rule()
    def an_operator_resumes_everything(self):
        for channel in sorted(self.model.paused):
            self.decide(Setting(platform="slack", workspace="T1", channel=channel, name=PAUSED, value=""))
        self.model.paused.clear()

    @rule(most=MOST)
    def an_operator_says_how_many_run_at_once(self, most):
        value = "" if most is None else str(most)
        self.decide(Setting(platform="slack", workspace="T1", name=WORKSPACE_RUNNING, value=value))
        self.model.running_most = most

    def decide(self, setting):
        version = self.runner.run(self.store.settings_version())
        before = self.runner.run(self.store.put_setting(setting, author_id="U1", at=AT))
        assert (self.runner.run(self.store.settings_version()) == version) == (before == setting.value)

    @precondition(lambda self: any(one.expired_at for one in self.model.conversations.values()))
    @rule(limit=st.sampled_from([1, 5, 100]))
    def the_sweeper_purges(self, limit):
        while gone := self.runner.run(self.store.purge(before=AT + MINUTE, limit=limit)):
            assert gone <= limit
        expired = [id_ for id_, one in self.model.conversations.items() if one.expired_at and not one.hold]
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
        held = sum(one.hold is not None for one in self.model.conversations.values())
        assert self.runner.run(self.store.running_in("slack", ["T1"])) == held
        for one in self.runner.run(self.store.standing("slack", "T1", "C1", "U1")):
            if one.period is Period.DAY and one.payer is not Payer.CHANNEL:
                assert (one.money, one.tokens) == (self.model.money, self.model.money)
        status = self.runner.run(self.store.status())
        everyone = self.model.conversations.values()
        assert status.queued == sum(one.queued is not None for one in everyone)
        assert status.running == sum(turn.open and turn is not one.queued for one in everyone for turn in one.turns)
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


def agree(ground_of_its_own: Callable[[], Ground], *, histories: int) -> None:
    """Compare so many histories with the model."""

    class Machine(StoreMachine):
        copies = StoreMachine.copies

    Machine.ground_of_its_own = staticmethod(ground_of_its_own)
    case = Machine.TestCase
    case.settings = settings(
        max_examples=histories,
        stateful_step_count=45,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    case().runTest()


def test_random_histories_agree_with_the_model(template: Path) -> None:
    agree(lambda: FileGround(template), histories=110)


class ServerGround:
    """A database on a real server, emptied."""

    ends_holds = False

    def __init__(self, url: str) -> None:
        self._url = url
        self._run(EMPTY)

    def open(self) -> Awaitable[Store]:
        return open_store(self._url)

    def let_leases_run_out(self) -> None:
        self._run(OVER_BY_NOW)

    def close(self) -> None:
        pass

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as db:
            db.execute(statement.encode())


OVER_BY_NOW = """
UPDATE conversation SET lease_until = least(lease_until, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - 1)"""


def test_random_histories_on_postgresql_agree_with_the_model(postgres_url: str) -> None:
    agree(lambda: ServerGround(postgres_url), histories=25)
