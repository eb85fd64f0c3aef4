"""Who may do what: by the list, a group or as the owner, in one workspace alone; and every refusal is written down."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat import words_governing as words
from bot.chat.access import Refusal
from bot.chat.authority import NOTED_EVERY, TARGET_LENGTH, Authority, Rank
from bot.chat.callers import MEMBER, UNKNOWN, Caller, Kind, Standing
from bot.chat.rules import Defaults, RuleBook
from store import AuditEntry, Setting, Store, StoreUnavailable, open_store
from tests.chat.test_access import STANDINGS
from tests.fakes.clock import START, FakeClock

pytestmark = pytest.mark.anyio

OWNER = replace(MEMBER, owner=True)
COOK = replace(MEMBER, groups=frozenset({"cooks"}))
THIEF = replace(MEMBER, groups=frozenset({"cooks", "thieves"}))
"""In a group that operates, and in one that is denied."""
GUEST = Standing(kind=Kind.GUEST)
EXTERNAL = Standing(kind=Kind.EXTERNAL)
BOT = Standing(kind=Kind.BOT)


@pytest.fixture
async def store(anyio_backend: object) -> AsyncIterator[Store]:
    store = await open_store("sqlite:///:memory:")
    yield store
    await store.aclose()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def rules(store: Store) -> RuleBook:
    """A workspace T1 that is operated by the group of cooks, where Eve is denied and the attic is closed."""
    rules = RuleBook(store, Defaults())
    for channel, subject, name, value in (
        ("", "group:cooks", "operator", "on"),
        ("", "user:eve", "access", "deny"),
        ("attic", "", "access", "deny"),
        ("bots", "", "bots", "on"),
    ):
        setting = Setting(platform="slack", workspace="T1", channel=channel, subject=subject, name=name, value=value)
        await rules.set(setting, author_id="olga", action="test", at=START)
    return rules


@pytest.fixture
def authority(store: Store, rules: RuleBook, clock: FakeClock) -> Authority:
    return Authority(store, rules, clock, operators=["slack:T1/host", "discord:42"])


def caller(user: str = "ada", standing: Standing = MEMBER, **parts: object) -> Caller:
    where: dict[str, object] = {"platform": "slack", "workspace": "T1", "channel": "kitchen"}
    return Caller(**(where | parts), user_id=user, standing=standing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("who", "rank"),
    [
        (caller(standing=COOK), Rank.OPERATOR),
        (caller(standing=THIEF), Rank.ANYONE),
        (caller("uma", THIEF), Rank.OPERATOR),
        (caller("host", THIEF), Rank.HOST),
        (caller(standing=replace(THIEF, owner=True)), Rank.OPERATOR),
    ],
)
async def test_who_is_denied_by_a_group_does_not_operate_by_another(
    authority: Authority, rules: RuleBook, who: Caller, rank: Rank
) -> None:
    for subject, value in (("group:thieves", "deny"), ("user:uma", "allow")):
        setting = Setting(platform="slack", workspace="T1", subject=subject, name="access", value=value)
        await rules.set(setting, author_id="olga", action="test", at=START)
    assert authority.rank(who) is rank


@pytest.mark.parametrize(
    ("who", "rank"),
    [
        (caller(), Rank.PERSON),
        (caller("eve"), Rank.ANYONE),
        (caller(channel="attic"), Rank.ANYONE),
        (caller(standing=GUEST), Rank.ANYONE),
        (caller(standing=EXTERNAL), Rank.ANYONE),
        (caller(standing=UNKNOWN), Rank.ANYONE),
        (caller(standing=BOT), None),
        (caller(standing=BOT, channel="bots"), None),
        (caller(standing=replace(OWNER, kind=Kind.BOT)), None),
        (caller("host", BOT), None),
        # by a group
        (caller(standing=COOK), Rank.OPERATOR),
        (caller(standing=COOK, channel="attic"), Rank.OPERATOR),
        (caller(standing=COOK, direct=True), Rank.OPERATOR),
        (caller("eve", COOK), Rank.ANYONE),
        (caller(standing=COOK, workspace="T2"), Rank.PERSON),
        (caller(standing=COOK, platform="discord"), Rank.PERSON),
        (caller(standing=replace(COOK, groups=frozenset({"waiters"}))), Rank.PERSON),
        (caller(standing=replace(COOK, groups_known=False)), Rank.PERSON),
        (caller(standing=replace(COOK, kind=Kind.UNKNOWN)), Rank.ANYONE),
        (caller(standing=replace(COOK, kind=Kind.EXTERNAL)), Rank.ANYONE),
        # as the owner
        (caller(standing=OWNER), Rank.OPERATOR),
        (caller("eve", OWNER), Rank.OPERATOR),
        (caller(standing=replace(OWNER, kind=Kind.EXTERNAL)), Rank.ANYONE),
        (caller(standing=replace(OWNER, kind=Kind.UNKNOWN)), Rank.ANYONE),
        (caller(standing=OWNER, platform="discord", workspace=""), Rank.PERSON),
        # by the list
        (caller("host"), Rank.HOST),
        (caller("host", UNKNOWN), Rank.HOST),
        (caller("host", workspace="T2"), Rank.PERSON),
        (caller("host", platform="discord"), Rank.PERSON),
        (caller("42", platform="discord", workspace="g"), Rank.HOST),
        (caller("42", UNKNOWN, platform="discord", workspace="", direct=True), Rank.HOST),
        (caller("42"), Rank.PERSON),
        (caller("whoever", UNKNOWN, platform="console", workspace=""), Rank.HOST),
    ],
)
async def test_everybody_has_a_rank(authority: Authority, who: Caller, rank: Rank | None) -> None:
    assert authority.rank(who) is rank
    if rank in (Rank.ANYONE, Rank.PERSON, Rank.HOST):
        assert (authority.may_speak(who) == "") is (rank is not Rank.ANYONE)


async def test_bots_may_speak_where_bots_are_answered_and_nothing_else(authority: Authority) -> None:
    assert authority.may_speak(caller(standing=BOT, channel="bots")) == ""
    assert authority.may_speak(caller(standing=BOT)) == words.REFUSALS[Refusal.BOT]
    assert authority.may_speak(caller("host", BOT)) == words.REFUSALS[Refusal.BOT]
    assert await authority.authorise(caller(standing=BOT, channel="bots"), "new", Rank.ANYONE)


async def test_without_a_list_and_owners_nobody_operates(store: Store, clock: FakeClock) -> None:
    authority = Authority(store, RuleBook(store, Defaults()), clock, operators=[], owners=False)
    for who in (caller(standing=OWNER), caller(standing=COOK), caller("host"), caller("42", platform="discord")):
        assert authority.rank(who) is Rank.PERSON
        assert not authority.may_appoint(who)


async def test_operators_are_refused_where_they_may_not_speak_but_may_still_operate(authority: Authority) -> None:
    cook = caller(standing=COOK, channel="attic")
    assert authority.may_speak(cook) == words.REFUSALS[Refusal.CHANNEL]
    assert await authority.authorise(cook, "channel", Rank.OPERATOR) == ""
    assert authority.may_speak(caller("host", channel="attic")) == ""


async def test_only_owners_and_hosts_say_who_operates(authority: Authority, store: Store) -> None:
    for who in (caller("host"), caller(standing=OWNER)):
        assert await authority.authorise_appointing(who, "access") == ""
    assert await audited(store) == []
    assert await authority.authorise_appointing(caller(standing=COOK), "access", target="group:waiters") == words.OWNERS_ONLY
    assert await authority.authorise_appointing(caller(), "access") == words.NO_SUCH_COMMAND
    assert await authority.authorise_appointing(caller(standing=replace(OWNER, kind=Kind.BOT)), "access") != ""
    assert [(entry.author_id, entry.target, entry.allowed) for entry in await audited(store)] == [
        ("ada", "group:waiters", False)  # the same person and action once more are not written down within a minute
    ]


async def audited(store: Store) -> list[AuditEntry]:
    return [entry for entry in reversed(await store.audit_log("slack", "T1", limit=100)) if entry.author_id != "olga"]


@pytest.mark.parametrize(
    ("who", "needs", "said"),
    [
        (caller("eve"), Rank.ANYONE, ""),
        (caller(standing=UNKNOWN), Rank.ANYONE, ""),
        (caller("eve"), Rank.PERSON, words.REFUSALS[Refusal.DENIED]),
        (caller(standing=UNKNOWN), Rank.PERSON, words.REFUSALS[Refusal.UNKNOWN]),
        (caller(standing=BOT), Rank.ANYONE, words.REFUSALS[Refusal.BOT]),
        (caller(), Rank.PERSON, ""),
        (caller(), Rank.OPERATOR, words.NO_SUCH_COMMAND),
        (caller(), Rank.HOST, words.NO_SUCH_COMMAND),
        (caller(standing=UNKNOWN), Rank.OPERATOR, words.NO_SUCH_COMMAND),
        (caller(standing=COOK), Rank.OPERATOR, ""),
        (caller(standing=COOK), Rank.HOST, words.HOSTS_ONLY),
        (caller(standing=COOK, workspace="T2"), Rank.OPERATOR, words.NO_SUCH_COMMAND),
        (caller("host"), Rank.HOST, ""),
    ],
)
async def test_who_lacks_the_rank_is_told_in_a_sentence_and_written_down(
    authority: Authority, store: Store, clock: FakeClock, who: Caller, needs: Rank, said: str
) -> None:
    assert await authority.authorise(who, "sweep", needs, target="x") == said
    entries = [entry for entry in await store.audit_log(who.platform, who.workspace, limit=10) if entry.action == "sweep"]
    assert len(entries) == (1 if said else 0)
    for entry in entries:
        assert replace(entry, id=0) == AuditEntry(
            platform=who.platform,
            workspace=who.workspace,
            channel=who.channel,
            author_id=who.user_id,
            action="sweep",
            target="x",
            allowed=False,
            at=clock.now(),
        )


async def test_a_persons_refused_tries_are_written_down_once_a_minute_for_each_action(
    authority: Authority, store: Store, clock: FakeClock
) -> None:
    for _ in range(20):
        for who in (caller(), caller("bob")):
            assert await authority.authorise(who, "sweep", Rank.HOST)
    await authority.authorise(caller(), "status", Rank.OPERATOR)
    assert [(entry.author_id, entry.action) for entry in await audited(store)] == [
        ("ada", "sweep"), ("bob", "sweep"), ("ada", "status"),
    ]  # fmt: skip
    await clock.advance(NOTED_EVERY)
    await authority.authorise(caller(), "sweep", Rank.HOST)
    assert len(await audited(store)) == 4


async def test_a_failing_store_turns_no_refusal_into_leave_and_the_next_try_is_written_down(
    authority: Authority, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(entry: AuditEntry) -> None:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as failing:
        failing.setattr(store, "audit", full)
        assert await authority.authorise(caller(), "sweep", Rank.HOST) == words.NO_SUCH_COMMAND
    assert await authority.authorise(caller(), "sweep", Rank.HOST) == words.NO_SUCH_COMMAND
    assert len(await audited(store)) == 1


async def test_a_store_that_hangs_holds_up_no_refusal(
    authority: Authority, store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hanging(entry: AuditEntry) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(store, "audit", hanging)
    trying = asyncio.create_task(authority.authorise(caller(), "sweep", Rank.HOST))
    await clock.advance(timedelta(seconds=3))
    assert await trying == words.NO_SUCH_COMMAND


async def test_whatever_people_type_as_a_target_is_written_down_in_part(authority: Authority, store: Store) -> None:
    await authority.authorise(caller(), "show", Rank.OPERATOR, target="x" * 10_000)
    assert await authority.authorise(caller("bob"), "show", Rank.OPERATOR, target="half \ud83d\0") != ""
    assert [len(entry.target) for entry in await audited(store)] == [TARGET_LENGTH]


async def test_what_operators_do_is_written_down_or_fails(
    authority: Authority, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(entry: AuditEntry) -> None:
        raise StoreUnavailable("the disk is full")

    await authority.note(caller(standing=COOK), "show", target="conversation 7", at=START)
    (entry,) = await audited(store)
    assert (entry.author_id, entry.action, entry.target, entry.allowed) == ("ada", "show", "conversation 7", True)
    monkeypatch.setattr(store, "audit", full)
    with pytest.raises(StoreUnavailable):
        await authority.note(caller(standing=COOK), "show", at=START)


class NoRules(RuleBook):
    """Rules of a store that nobody asks: every group operates every workspace."""

    def __init__(self) -> None:
        super().__init__(None, Defaults())  # type: ignore[arg-type]

    def operating_groups(self, platform: str, workspace: str) -> frozenset[str]:
        return frozenset({"1", "2", "3"})


@given(STANDINGS, st.sampled_from(["", "T1"]))
def test_nobody_has_a_higher_rank_by_being_unknown(standing: Standing, workspace: str) -> None:
    authority = Authority(None, NoRules(), FakeClock(), operators=[])  # type: ignore[arg-type]
    for hidden in (replace(standing, kind=Kind.UNKNOWN), replace(standing, groups=frozenset(), groups_known=False)):
        if standing.kind is not Kind.BOT:
            known, unknown = (authority.rank(caller(standing=it, workspace=workspace)) for it in (standing, hidden))
            assert known is not None
            assert unknown is not None
            assert unknown <= known
