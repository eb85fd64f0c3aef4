"""The book of rules: what was chosen holds at once, for good, on every replica, and for its place alone."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.chat.policy import Placement, Rules, Scope, Trigger
from bot.chat.rules import DEFAULT, MOST_CHOICES, WATCH, Defaults, LimitRow, Origin, RuleBook, SettingRefused
from store import (
    ON,
    PAUSED,
    WORKSPACE_RUNNING,
    Limit,
    Payer,
    Period,
    Setting,
    Spot,
    Store,
    StoreUnavailable,
    Unit,
    open_store,
)
from tests.chat.chatting import until
from tests.fakes.clock import START, FakeClock

pytestmark = pytest.mark.anyio

KITCHEN = ("discord", "w", "kitchen")
GARDEN = ("discord", "w", "garden")
WORKSPACE = ("discord", "w", "")


@pytest.fixture
async def store(anyio_backend: object) -> AsyncIterator[Store]:
    store = await open_store("sqlite:///:memory:")
    yield store
    await store.aclose()


async def opened(store: Store, defaults: Defaults | None = None) -> RuleBook:
    rules = RuleBook(store, defaults or Defaults())
    await rules.load("discord")
    return rules


def setting(name: str, value: str, where: tuple[str, str, str] = KITCHEN, *, subject: str = "") -> Setting:
    platform, workspace, channel = where
    return Setting(platform=platform, workspace=workspace, channel=channel, subject=subject, name=name, value=value)


async def choose(rules: RuleBook, name: str, value: str, where: tuple[str, str, str] = KITCHEN, *, subject: str = "") -> str:
    return await rules.set(setting(name, value, where, subject=subject), author_id="olga", action="channel", at=START)


async def test_where_nothing_was_chosen_the_defaults_hold(store: Store) -> None:
    rules = await opened(store, Defaults(rules=Rules(trigger=Trigger.LISTEN, persona="Be kind.", ttl=timedelta(days=30))))
    assert rules.of(*KITCHEN) == Rules(trigger=Trigger.LISTEN, persona="Be kind.", ttl=timedelta(days=30))
    assert rules.chosen(*KITCHEN) == {}
    assert set(rules.origins(*KITCHEN).values()) == {Origin.DEFAULT}


async def test_on_slack_answers_go_to_threads_until_something_else_is_chosen(store: Store) -> None:
    rules = await opened(store)
    general = ("slack", "T1", "C1")
    assert rules.of(*general) == Rules(placement=Placement.THREAD)
    await choose(rules, "trigger", "listen", general)
    assert rules.of(*general) == Rules(placement=Placement.THREAD, trigger=Trigger.LISTEN)
    await choose(rules, "placement", "inline", general)
    assert rules.of(*general) == Rules(trigger=Trigger.LISTEN)
    await choose(rules, "placement", DEFAULT, general)
    assert rules.of(*general).placement is Placement.THREAD


async def test_a_channels_choice_goes_before_its_workspaces_and_that_before_the_default(store: Store) -> None:
    rules = await opened(store)
    await choose(rules, "trigger", "listen", WORKSPACE)
    await choose(rules, "persona", "You are a cook.")
    assert rules.of(*KITCHEN) == Rules(trigger=Trigger.LISTEN, persona="You are a cook.")
    assert rules.of(*GARDEN) == rules.of(*WORKSPACE) == Rules(trigger=Trigger.LISTEN)
    await choose(rules, "trigger", "off")
    assert rules.of(*KITCHEN).trigger is Trigger.OFF
    assert rules.of(*GARDEN).trigger is Trigger.LISTEN
    origins = rules.origins(*KITCHEN)
    assert (origins["trigger"], origins["persona"], origins["scope"]) == (Origin.CHANNEL, Origin.CHANNEL, Origin.DEFAULT)
    assert rules.origins(*GARDEN)["trigger"] is rules.origins(*WORKSPACE)["trigger"] is Origin.WORKSPACE
    await choose(rules, "trigger", DEFAULT)
    assert rules.of(*KITCHEN).trigger is Trigger.LISTEN


async def test_a_choice_holds_at_once_and_for_its_channel_alone(store: Store) -> None:
    rules = await opened(store)
    await choose(rules, "scope", "channel")
    await choose(rules, "bots", "on")
    assert rules.of(*KITCHEN) == Rules(scope=Scope.CHANNEL, bots=True)
    assert rules.chosen(*KITCHEN) == {"scope": "channel", "bots": "on"}
    for other in (GARDEN, ("discord", "v", "kitchen"), ("console", "w", "kitchen")):
        assert rules.of(*other) == Rules()


async def test_every_choice_is_there_after_a_restart(store: Store) -> None:
    before = await opened(store, Defaults(models=("large", "small")))
    for name, value in (("persona", "You are a cook."), ("model", "small"), ("ttl", "12h"), ("placement", "thread")):
        await choose(before, name, value)
    await choose(before, "access", "deny", WORKSPACE, subject="user:eve")
    await choose(before, "operator", ON, WORKSPACE, subject="group:cooks")
    after = await opened(store, before.defaults)
    assert after.of(*KITCHEN) == Rules(
        persona="You are a cook.", model="small", ttl=timedelta(hours=12), placement=Placement.THREAD
    )
    assert after.access("discord", "w").users == {"eve": False}
    assert after.operating_groups("discord", "w") == {"cooks"}
    assert after.operating_groups("discord", "v") == frozenset()


async def test_a_choice_that_is_taken_back_leaves_the_default(store: Store) -> None:
    defaults = Defaults(rules=Rules(trigger=Trigger.LISTEN))
    rules = await opened(store, defaults)
    assert await choose(rules, "trigger", "off") == ""
    assert await choose(rules, "trigger", DEFAULT) == "off"
    for book in (rules, await opened(store, defaults)):
        assert book.of(*KITCHEN) == Rules(trigger=Trigger.LISTEN)
        assert book.chosen(*KITCHEN) == {}


async def test_who_changed_what_when_from_and_to_stands_in_the_log_of_governing(store: Store) -> None:
    rules = await opened(store)
    await choose(rules, "trigger", "off")
    await choose(rules, "trigger", "listen")
    newest, oldest = await store.audit_log("discord", "w", limit=10)
    assert (newest.author_id, newest.action, newest.channel, newest.before, newest.after) == (
        "olga", "channel", "kitchen", "off", "listen",
    )  # fmt: skip
    assert (oldest.before, oldest.after, oldest.allowed, oldest.at) == ("", "off", True, START)


async def test_the_environment_and_operators_say_who_may_speak(store: Store) -> None:
    rules = await opened(store, Defaults(admit=frozenset({"guests"}), direct=False))
    access = rules.access("discord", "w")
    assert (access.guests, access.external, access.direct, access.people, access.everywhere) == (
        True, False, False, True, True,
    )  # fmt: skip
    for subject in ("guests", "people", "channels", "group:7", "category:8"):
        await choose(rules, "access", "deny", WORKSPACE, subject=subject)
    for subject in ("external", "direct", "user:ada"):
        await choose(rules, "access", "allow", WORKSPACE, subject=subject)
    await choose(rules, "access", "allow")
    access = rules.access("discord", "w")
    assert (access.guests, access.external, access.direct, access.people, access.everywhere) == (
        False, True, True, False, False,
    )  # fmt: skip
    assert (access.users, access.groups, access.categories, access.channels) == (
        {"ada": True}, {"7": False}, {"8": False}, {"kitchen": True},
    )  # fmt: skip
    assert rules.access("discord", "v").guests


def turns(payer: Payer, amount: int) -> Limit:
    return Limit(payer=payer, unit=Unit.TURNS, period=Period.MINUTE, amount=amount)


async def test_limits_come_from_the_environment_the_workspace_and_for_single_people_and_channels(store: Store) -> None:
    rules = await opened(store, Defaults(limits={"user-turns": 10}))

    def applying(channel: str = "kitchen", user: str = "ada") -> set[Limit]:
        return set(rules.limits("discord", "w", channel, user))

    assert applying() == {turns(Payer.USER, 10)}
    await choose(rules, "limit.user-turns", "5", WORKSPACE)
    await choose(rules, "limit.user-turns", "50", WORKSPACE, subject="user:bob")
    await choose(rules, "limit.channel-turns", "20", WORKSPACE, subject="channel:kitchen")
    assert applying() == {turns(Payer.USER, 5), turns(Payer.CHANNEL, 20)}
    assert applying("garden", "bob") == {turns(Payer.USER, 50)}
    await choose(rules, "limit.user-turns", "off", WORKSPACE, subject="user:bob")
    assert applying("garden", "bob") == set()
    assert set(rules.limits("discord", "v", "kitchen", "bob")) == {turns(Payer.USER, 10)}
    await choose(rules, "limit.user-turns", DEFAULT, WORKSPACE)
    assert applying() == {turns(Payer.USER, 10), turns(Payer.CHANNEL, 20)}


async def test_a_limit_of_everything_holds_everywhere(store: Store) -> None:
    rules = await opened(store)
    await choose(rules, "limit.all-tokens", "1000", ("", "", ""))
    limit = Limit(payer=Payer.ALL, unit=Unit.TOKENS, period=Period.DAY, amount=1000)
    for book in (rules, await opened(store)):
        assert book.limits("discord", "w", "kitchen", "ada") == book.limits("slack", "T1", "C1", "U1") == (limit,)


async def test_the_table_of_limits_says_where_each_comes_from(store: Store) -> None:
    rules = await opened(store, Defaults(limits={"user-turns": 10, "workspace-money": 5_000_000, WORKSPACE_RUNNING: 4}))
    await choose(rules, "limit.workspace-money", "7.50", WORKSPACE)
    await choose(rules, WORKSPACE_RUNNING, "2", WORKSPACE)
    await choose(rules, "limit.user-turns", "off", WORKSPACE, subject="user:bob")
    await choose(rules, "limit.all-tokens", "1000", ("", "", ""))
    rows = {(row.name, row.subject): row for row in rules.limit_table("discord", "w")}
    for row in (
        LimitRow(name="user-turns", amount="10", origin=Origin.DEFAULT),
        LimitRow(name="user-turns", subject="user:bob", amount="off", origin=Origin.WORKSPACE),
        LimitRow(name="workspace-money", amount="7.50", origin=Origin.WORKSPACE),
        LimitRow(name=WORKSPACE_RUNNING, amount="2", origin=Origin.WORKSPACE),
        LimitRow(name="all-tokens", amount="1000", origin=Origin.EVERYWHERE),
        LimitRow(name="channel-turns", amount="", origin=Origin.DEFAULT),
    ):
        assert rows[row.name, row.subject] == row


@pytest.mark.parametrize(
    ("where", "paused", "goes_on"),
    [
        (KITCHEN, [KITCHEN], [GARDEN, ("discord", "v", "kitchen"), ("slack", "w", "kitchen")]),
        (WORKSPACE, [KITCHEN, GARDEN], [("discord", "v", "kitchen"), ("discord", "", "dm"), ("slack", "w", "kitchen")]),
        (("discord", "", ""), [("discord", "", "dm")], [KITCHEN]),
        (("", "", ""), [KITCHEN, GARDEN, ("slack", "T1", "C1"), ("discord", "", "dm")], []),
    ],
)
async def test_a_pause_holds_for_its_spot(store: Store, where: Any, paused: Any, goes_on: Any) -> None:
    rules = await opened(store)
    await choose(rules, PAUSED, ON, where)
    for book in (rules, await opened(store)):
        assert all(book.paused(*place) for place in paused if book is rules or place[0] == "discord" or where[0] == "")
        assert not any(book.paused(*place) for place in goes_on)
    await choose(rules, PAUSED, DEFAULT, where)
    assert not any(rules.paused(*place) for place in paused)


async def test_the_spots_with_a_time_of_their_own_are_listed(store: Store) -> None:
    rules = await opened(store)
    await choose(rules, "ttl", "12h")
    await choose(rules, "ttl", "off", ("discord", "v", ""))
    await choose(rules, "trigger", "off", GARDEN)
    assert set(rules.ttl_spots()) == {
        (Spot(platform="discord", workspace="w", channel="kitchen"), timedelta(hours=12)),
        (Spot(platform="discord", workspace="v"), None),
    }


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("colour", "red", "placement"),
        ("trigger", "loud", "mention, listen, off, default"),
        ("trigger", "", "mention, listen, off, default"),
        ("trigger", "MENTION", "mention, listen, off, default"),
        ("model", "huge", "large, small, default"),
        ("ttl", "soon", "12h"),
        ("ttl", "59s", "12h"),
        ("ttl", "36501d", "12h"),
        ("ttl", "-1d", "12h"),
        ("persona", " \n", "some text"),
        ("persona", "x" * 4001, "4,000"),
        ("persona", "half \ud83d", "no valid text"),
        ("persona", "a\0b", "no valid text"),
        ("access", "maybe", "allow, deny, default"),
        ("paused", "off", "on, default"),
        ("operator", ON, "can't be set there"),
        ("limit.user-turns", "5", "can't be set there"),
        ("limit.colours", "5", "placement"),
    ],
)
async def test_what_does_not_exist_is_refused_with_what_does(store: Store, name: str, value: str, said: str) -> None:
    rules = await opened(store, Defaults(models=("large", "small")))
    with pytest.raises(SettingRefused, match=said):
        await choose(rules, name, value)
    assert await store.settings("discord") == ()


@pytest.mark.parametrize(
    ("name", "value", "where", "subject"),
    [
        ("trigger", "off", ("", "", ""), ""),
        ("trigger", "off", KITCHEN, "user:ada"),
        ("access", "deny", KITCHEN, "user:ada"),
        ("access", "deny", WORKSPACE, ""),
        ("access", "deny", WORKSPACE, "user:"),
        ("access", "deny", WORKSPACE, "planet:mars"),
        ("access", "deny", WORKSPACE, "user:" + "x" * 300),
        ("operator", ON, WORKSPACE, "user:ada"),
        ("operator", ON, ("discord", "", ""), "group:cooks"),
        ("limit.user-turns", "5", WORKSPACE, "channel:kitchen"),
        ("limit.channel-turns", "5", WORKSPACE, "user:ada"),
        ("limit.workspace-tokens", "5", WORKSPACE, "user:ada"),
        ("limit.all-tokens", "5", WORKSPACE, ""),
        ("limit.user-turns", "5", ("", "", ""), ""),
        ("limit.user-turns", "0", WORKSPACE, ""),
        (WORKSPACE_RUNNING, "off", WORKSPACE, ""),
        (WORKSPACE_RUNNING, "-1", WORKSPACE, ""),
        (PAUSED, ON, ("", "w", ""), ""),
        (PAUSED, ON, KITCHEN, "user:ada"),
    ],
)
async def test_what_can_not_be_set_there_is_refused(store: Store, name: str, value: str, where: Any, subject: str) -> None:
    rules = await opened(store)
    with pytest.raises(SettingRefused):
        await choose(rules, name, value, where, subject=subject)
    assert await store.settings("discord") == ()


async def test_a_workspace_has_no_more_choices_than_every_replica_can_remember(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.chat.rules.MOST_CHOICES", 2)
    rules = await opened(store)
    await choose(rules, "trigger", "off")
    await choose(rules, "scope", "channel")
    with pytest.raises(SettingRefused, match="2 settings"):
        await choose(rules, "bots", "on")
    await choose(rules, "trigger", "listen")
    await choose(rules, "scope", DEFAULT)
    await choose(rules, "bots", "on")
    assert rules.of(*KITCHEN) == Rules(trigger=Trigger.LISTEN, bots=True)
    assert MOST_CHOICES > 1000


async def test_what_a_newer_version_wrote_is_ignored_and_kept(store: Store) -> None:
    for name, value in (("mood", "merry"), ("trigger", "whisper"), ("model", "gone"), ("scope", "channel")):
        await store.put_setting(setting(name, value), author_id="olga", at=START)
    with capture_logs() as logs:
        rules = await opened(store)
        await rules.reload()
    assert rules.of(*KITCHEN) == Rules(scope=Scope.CHANNEL)
    assert sorted(line["setting"] for line in logs if line["event"] == "rules.ignored") == ["model", "mood", "trigger"]
    assert len(await store.settings("discord")) == 4


async def test_a_choice_that_can_not_be_kept_does_not_hold(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(setting: object, **parts: object) -> None:
        raise StoreUnavailable("the disk is full")

    rules = await opened(store)
    monkeypatch.setattr(store, "put_setting", full)
    with pytest.raises(StoreUnavailable):
        await choose(rules, "trigger", "off")
    assert rules.of(*KITCHEN) == Rules()


async def test_what_was_known_holds_on_while_the_store_fails(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(platform: str) -> None:
        raise StoreUnavailable("the disk is gone")

    rules = await opened(store)
    await choose(rules, "trigger", "off")
    monkeypatch.setattr(store, "settings", failing)
    with pytest.raises(StoreUnavailable):
        await rules.reload()
    assert rules.of(*KITCHEN) == Rules(trigger=Trigger.OFF)


async def test_what_was_read_before_a_change_does_not_undo_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rules, read, read_on = await opened(store), asyncio.Event(), asyncio.Event()
    settings = store.settings

    async def slow(platform: str) -> tuple[Setting, ...]:
        found = await settings(platform)
        read.set()
        await read_on.wait()
        return found

    monkeypatch.setattr(store, "settings", slow)
    reloading = asyncio.create_task(rules.reload())
    await read.wait()
    changing = asyncio.create_task(choose(rules, "trigger", "off"))
    await asyncio.sleep(0)
    read_on.set()
    await asyncio.gather(reloading, changing)
    assert rules.of(*KITCHEN) == Rules(trigger=Trigger.OFF)


async def test_whoever_follows_the_rules_hears_of_each_change_and_of_nothing_else(store: Store) -> None:
    ours, theirs = await opened(store), await opened(store)
    heard: list[bool] = []
    ours.on_change(lambda: heard.append(ours.paused(*KITCHEN)))
    await choose(ours, PAUSED, ON)
    assert heard == [True]
    await theirs.reload()
    await choose(theirs, PAUSED, DEFAULT)
    await ours.reload()
    assert heard == [True, False]
    await ours.reload()
    assert heard == [True, False]


async def test_what_another_replica_chose_and_took_back_is_known_within_a_second(store: Store) -> None:
    clock = FakeClock()
    ours, theirs = await opened(store), await opened(store)
    watching = asyncio.create_task(ours.watch(clock))
    assert timedelta() < 2 * WATCH <= timedelta(seconds=1)
    for value, paused in ((ON, True), (DEFAULT, False), (ON, True)):
        await choose(theirs, PAUSED, value)
        await clock.advance(WATCH)
        await until(lambda paused=paused: ours.paused(*KITCHEN) is paused)  # type: ignore[misc]
        await until(lambda: clock.sleeping > 0)
    watching.cancel()
    await asyncio.wait({watching})


async def test_the_rules_are_read_again_only_when_something_changed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, reads, settings = FakeClock(), [], store.settings
    rules = await opened(store)

    async def counted(platform: str) -> tuple[Setting, ...]:
        reads.append(platform)
        return await settings(platform)

    monkeypatch.setattr(store, "settings", counted)
    watching = asyncio.create_task(rules.watch(clock))
    for _ in range(5):
        await until(lambda: clock.sleeping > 0)
        await clock.advance(WATCH)
    await until(lambda: clock.sleeping > 0)
    assert len(reads) <= 1
    watching.cancel()
    await asyncio.wait({watching})


async def test_a_failing_store_is_logged_once_and_asked_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, version, asked = FakeClock(), store.settings_version, []

    async def failing() -> int:
        asked.append(1)
        if len(asked) < 5:
            raise StoreUnavailable("the disk is gone")
        return await version()

    ours, theirs = await opened(store), await opened(store)
    monkeypatch.setattr(store, "settings_version", failing)
    with capture_logs() as logs:
        watching = asyncio.create_task(ours.watch(clock))
        await choose(theirs, PAUSED, ON)
        while not ours.paused(*KITCHEN):
            await clock.advance(WATCH)
            await asyncio.sleep(0.001)
        watching.cancel()
        await asyncio.wait({watching})
    assert len([line for line in logs if line["event"] == "rules.not_followed"]) == 1


async def test_all_that_was_chosen_in_a_workspace_is_listed_and_nothing_of_others(store: Store) -> None:
    rules = await opened(store)
    theirs = setting("access", "deny", WORKSPACE, subject="user:eve")
    ours = setting("trigger", "off")
    for chosen in (ours, theirs, replace(ours, workspace="v")):
        await rules.set(chosen, author_id="olga", action="", at=START)
    assert rules.choices_in("discord", "w") == (theirs, ours)
