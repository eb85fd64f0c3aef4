"""Who is answered where, and which conversation it is (the table of DESIGN §4)."""

import pytest

from bot.chat.callers import MEMBER
from bot.chat.policy import (
    BOT_TURNS,
    BOT_WINDOW,
    Placement,
    Rules,
    Scope,
    Trigger,
    address_of,
    bots_have_had_their_turns,
    concerns_us,
    key_of,
)
from bot.chat.protocol import Address, IncomingMessage, Place
from store import ConversationKey, Ending, Message, Role
from tests.fakes.clock import START


def said(place: Place, *, addressed: bool = False, thread: str = "", from_bot: bool = False) -> IncomingMessage:
    return IncomingMessage(
        place=place,
        address=Address(platform="slack", workspace="T1", channel="C1", thread=thread),
        event_id="e",
        message_id="m",
        position=1,
        author_id="U1",
        author_name="Ada",
        text="hi",
        sent_at=START,
        standing=MEMBER,
        addressed=addressed,
        from_bot=from_bot,
    )


@pytest.mark.parametrize(
    ("place", "scope", "thread", "user"),
    [
        (Place.DIRECT, Scope.USER, "", ""),
        (Place.DIRECT, Scope.USER, "t", ""),
        (Place.CHANNEL, Scope.USER, "", "U1"),
        (Place.CHANNEL, Scope.CHANNEL, "", ""),
        (Place.THREAD, Scope.USER, "t", ""),
        (Place.THREAD, Scope.CHANNEL, "t", ""),
    ],
)
def test_each_place_has_its_key(place: Place, scope: Scope, thread: str, user: str) -> None:
    key = ConversationKey(platform="slack", workspace="T1", channel="C1", thread=thread, user=user)
    where = said(place, thread=thread).address
    assert key_of(place, where, "U1", Rules(scope=scope), message_id="m") == key


@pytest.mark.parametrize("scope", Scope)
def test_a_thread_that_begins_at_a_message_has_its_name_and_is_everybodys(scope: Scope) -> None:
    rules, message = Rules(placement=Placement.THREAD, scope=scope), said(Place.CHANNEL)
    key = ConversationKey(platform="slack", workspace="T1", channel="C1", thread="m")
    assert key_of(Place.CHANNEL, message.address, "U1", rules, message_id="m") == key
    where = address_of(message, rules)
    assert (where.channel, where.thread, where.reply_to) == ("C1", "m", "m")
    within = said(Place.THREAD, thread="m")
    assert key_of(Place.THREAD, within.address, "U2", rules, message_id="n") == key
    assert address_of(within, rules) == within.address


@pytest.mark.parametrize("place", [Place.DIRECT, Place.THREAD])
def test_only_in_a_channel_does_a_message_begin_a_thread(place: Place) -> None:
    message = said(place, thread="t")
    assert address_of(message, Rules(placement=Placement.THREAD)) == message.address


def test_a_command_begins_no_thread_and_speaks_of_its_authors_own_conversation() -> None:
    key = key_of(Place.CHANNEL, said(Place.CHANNEL).address, "U1", Rules(placement=Placement.THREAD))
    assert key == ConversationKey(platform="slack", workspace="T1", channel="C1", user="U1")


@pytest.mark.parametrize(
    ("place", "trigger", "addressed", "taking_part", "answered"),
    [
        (Place.DIRECT, Trigger.MENTION, False, False, True),
        (Place.CHANNEL, Trigger.MENTION, False, False, False),
        (Place.CHANNEL, Trigger.MENTION, True, False, True),
        (Place.CHANNEL, Trigger.LISTEN, False, False, True),
        (Place.CHANNEL, Trigger.OFF, True, False, False),
        (Place.DIRECT, Trigger.OFF, True, False, False),
        (Place.THREAD, Trigger.MENTION, False, False, False),
        (Place.THREAD, Trigger.MENTION, False, True, True),
        (Place.THREAD, Trigger.MENTION, True, False, True),
    ],
)
def test_what_is_answered(place: Place, trigger: Trigger, addressed: bool, taking_part: bool, answered: bool) -> None:
    message = said(place, addressed=addressed)
    assert concerns_us(message, Rules(trigger=trigger), taking_part=taking_part) is answered


def test_bots_are_answered_only_where_that_was_chosen() -> None:
    bot = said(Place.DIRECT, addressed=True, from_bot=True)
    assert not concerns_us(bot, Rules(), taking_part=True)
    assert concerns_us(bot, Rules(bots=True), taking_part=True)


def heard(*speakers: str) -> list[Message]:
    """Write a conversation of `human`, `bot` and `us`."""
    return [
        Message(
            id=number,
            conversation_id=1,
            role=Role.ASSISTANT if speaker == "us" else Role.USER,
            position=number,
            author_id=speaker,
            author_name=speaker,
            text="hm",
            ending=Ending.COMPLETE,
            turn_id=None,
            at=START,
            from_bot=speaker == "bot",
        )
        for number, speaker in enumerate(speakers)
    ]


@pytest.mark.parametrize(
    ("speakers", "waits"),
    [
        ((), False),
        (("bot", "us", "bot", "us"), False),
        (("bot", "us", "bot", "us", "bot", "us"), True),
        (("bot", "bot", "bot"), True),
        (("human", "us", "bot", "us", "bot", "us"), False),
        (("bot", "us", "human", "us", "bot", "us"), False),
        (("human", "bot", "bot", "bot", "us"), True),
        (("bot", "bot", "bot", "us", "human"), False),
    ],
)
def test_bots_wait_for_a_human_after_three_in_a_row(speakers: tuple[str, ...], waits: bool) -> None:
    assert bots_have_had_their_turns(heard(*speakers)) is waits


def test_the_window_holds_as_many_messages_as_bots_have_in_a_row() -> None:
    assert bots_have_had_their_turns(heard("human", *["bot", "us"] * BOT_TURNS)[-BOT_WINDOW:])
