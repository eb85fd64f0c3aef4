"""Who is answered where, and which conversation it is (the table of DESIGN §4)."""

import pytest

from bot.chat.policy import Rules, Scope, Trigger, concerns_us, is_operator, key_of
from bot.chat.protocol import Address, CommandCall, IncomingMessage, Place
from store import ConversationKey
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
    assert key_of(said(place, thread=thread), Rules(scope=scope)) == key


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


def test_bots_are_never_answered() -> None:
    assert not concerns_us(said(Place.DIRECT, addressed=True, from_bot=True), Rules(), taking_part=True)


@pytest.mark.parametrize(
    ("platform", "workspace", "user", "operators", "may"),
    [
        ("discord", "g", "1", ["discord:1"], True),
        ("discord", "g", "1", [], False),
        ("discord", "g", "1", ["slack:g/1"], False),
        ("slack", "T1", "U1", ["slack:T1/U1"], True),
        ("slack", "T2", "U1", ["slack:T1/U1"], False),
        ("console", "", "whoever", [], True),
    ],
)
def test_an_operator_is_who_the_list_names(
    platform: str, workspace: str, user: str, operators: list[str], may: bool
) -> None:
    call = CommandCall(
        name="status",
        argument="",
        key=ConversationKey(platform=platform, workspace=workspace, channel="c"),
        address=Address(platform=platform, workspace=workspace, channel="c"),
        author_id=user,
        author_name="",
        at=START,
    )
    assert is_operator(call, operators) is may
