"""The book of channel settings: what was chosen holds at once, for good, and for its channel alone."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bot.chat.policy import Placement, Rules, Scope, Trigger
from bot.chat.rules import DEFAULT, SETTINGS, RuleBook, SettingRefused, choices_of, value_of
from store import ChannelSetting, Store, StoreUnavailable, open_store
from tests.fakes.clock import START

pytestmark = pytest.mark.anyio

KITCHEN = ("discord", "w", "kitchen")


@pytest.fixture
async def store(anyio_backend: str) -> AsyncIterator[Store]:
    store = await open_store("sqlite:///:memory:")
    yield store
    await store.aclose()


async def opened(store: Store, **defaults: object) -> RuleBook:
    rules = RuleBook(store, Rules(**defaults))  # type: ignore[arg-type]
    await rules.load("discord")
    return rules


async def test_where_nothing_was_chosen_the_defaults_hold(store: Store) -> None:
    rules = await opened(store, trigger=Trigger.LISTEN)
    assert rules.of(*KITCHEN) == Rules(trigger=Trigger.LISTEN)
    assert rules.chosen(*KITCHEN) == {}


async def test_on_slack_answers_go_to_threads_until_something_else_is_chosen(store: Store) -> None:
    rules = await opened(store)
    general = ("slack", "T1", "C1")
    assert rules.of(*general) == Rules(placement=Placement.THREAD)
    await rules.set(*general, "trigger", "listen", at=START)
    assert rules.of(*general) == Rules(placement=Placement.THREAD, trigger=Trigger.LISTEN)
    await rules.set(*general, "placement", "inline", at=START)
    assert rules.of(*general) == Rules(trigger=Trigger.LISTEN)
    await rules.set(*general, "placement", DEFAULT, at=START)
    assert value_of(rules.of(*general), "placement") == "thread"


async def test_a_choice_holds_at_once_and_for_its_channel_alone(store: Store) -> None:
    rules = await opened(store)
    await rules.set(*KITCHEN, "scope", "channel", at=START)
    await rules.set(*KITCHEN, "bots", "on", at=START)
    assert rules.of(*KITCHEN) == Rules(scope=Scope.CHANNEL, bots=True)
    assert rules.chosen(*KITCHEN) == {"scope": "channel", "bots": "on"}
    for other in (("discord", "w", "garden"), ("discord", "v", "kitchen"), ("console", "w", "kitchen")):
        assert rules.of(*other) == Rules()


async def test_a_choice_is_there_after_a_restart(store: Store) -> None:
    await (await opened(store)).set(*KITCHEN, "placement", "thread", at=START)
    assert (await opened(store)).of(*KITCHEN) == Rules(placement=Placement.THREAD)


async def test_a_choice_that_is_taken_back_leaves_the_default(store: Store) -> None:
    rules = await opened(store, trigger=Trigger.LISTEN)
    await rules.set(*KITCHEN, "trigger", "off", at=START)
    await rules.set(*KITCHEN, "trigger", DEFAULT, at=START)
    for book in (rules, await opened(store, trigger=Trigger.LISTEN)):
        assert book.of(*KITCHEN) == Rules(trigger=Trigger.LISTEN)
        assert book.chosen(*KITCHEN) == {}


async def test_what_another_replica_chose_and_took_back_holds_after_reloading(store: Store) -> None:
    ours, theirs = await opened(store), await opened(store)
    await theirs.set(*KITCHEN, "trigger", "off", at=START)
    await ours.reload()
    assert ours.of(*KITCHEN) == Rules(trigger=Trigger.OFF)
    await theirs.set(*KITCHEN, "trigger", DEFAULT, at=START)
    await ours.reload()
    assert ours.of(*KITCHEN) == Rules()


@pytest.mark.parametrize(
    ("name", "value"), [("colour", "red"), ("trigger", "loud"), ("trigger", ""), ("trigger", "MENTION")]
)
async def test_what_does_not_exist_is_refused_with_what_does(store: Store, name: str, value: str) -> None:
    rules = await opened(store)
    with pytest.raises(SettingRefused, match=r"placement|mention, listen, off, default"):
        await rules.set(*KITCHEN, name, value, at=START)
    assert await store.settings("discord") == ()


async def test_what_a_newer_version_wrote_is_ignored_and_kept(store: Store) -> None:
    platform, workspace, channel = KITCHEN
    for name, value in (("mood", "merry"), ("trigger", "whisper"), ("scope", "channel")):
        setting = ChannelSetting(platform=platform, workspace=workspace, channel=channel, name=name, value=value)
        await store.put_setting(setting, at=START)
    rules = await opened(store)
    assert rules.of(*KITCHEN) == Rules(scope=Scope.CHANNEL)
    assert len(await store.settings("discord")) == 3


async def test_a_choice_that_can_not_be_kept_does_not_hold(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(setting: object, *, at: object) -> None:
        raise StoreUnavailable("the disk is full")

    rules = await opened(store)
    monkeypatch.setattr(store, "put_setting", full)
    with pytest.raises(StoreUnavailable):
        await rules.set(*KITCHEN, "trigger", "off", at=START)
    assert rules.of(*KITCHEN) == Rules()


async def test_what_was_known_holds_on_while_the_store_fails(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(platform: str) -> None:
        raise StoreUnavailable("the disk is gone")

    rules = await opened(store)
    await rules.set(*KITCHEN, "trigger", "off", at=START)
    monkeypatch.setattr(store, "settings", failing)
    with pytest.raises(StoreUnavailable):
        await rules.reload()
    assert rules.of(*KITCHEN) == Rules(trigger=Trigger.OFF)


async def test_what_was_read_before_a_change_does_not_undo_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rules, read, read_on = await opened(store), asyncio.Event(), asyncio.Event()
    settings = store.settings

    async def slow(platform: str) -> tuple[ChannelSetting, ...]:
        found = await settings(platform)
        read.set()
        await read_on.wait()
        return found

    monkeypatch.setattr(store, "settings", slow)
    reloading = asyncio.create_task(rules.reload())
    await read.wait()
    changing = asyncio.create_task(rules.set(*KITCHEN, "trigger", "off", at=START))
    await asyncio.sleep(0)
    read_on.set()
    await asyncio.gather(reloading, changing)
    assert rules.of(*KITCHEN) == Rules(trigger=Trigger.OFF)


def test_every_setting_can_say_what_holds() -> None:
    assert {name: value_of(Rules(), name) for name in SETTINGS} == {
        "trigger": "mention",
        "scope": "user",
        "placement": "inline",
        "bots": "off",
    }
    for name in SETTINGS:
        assert value_of(Rules(), name) in choices_of(name)
    assert choices_of("colour") == ()
