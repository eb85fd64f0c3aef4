"""The App Home and the agent view: what is shown to whoever opens them, and what is erased."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from bot.adapters.slack.home import SHOWN, view_of
from bot.chat import words
from bot.chat import words_commands as say
from bot.chat.access import Refusal
from bot.chat.words_governing import REFUSALS
from store import Conversation, ConversationKey, ConversationSummary, StoreUnavailable
from tests.adapters.slack.interactive import InteractiveBot, interactive
from tests.fakes.slack import FakeSlack, User, blocks
from tests.fakes_slack.bots import Run, by_http, by_socket

pytestmark = pytest.mark.anyio

ACTIVE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def home_of(user: User) -> str:
    return user.home.shown if user.home is not None else ""


async def at_home(bot: InteractiveBot) -> User:
    """Ada has talked to us and opens her home."""
    ada = bot.slack.workspace.user("Ada")
    await ada.say(ada.dm, "hello")
    await bot.answered(ada.dm)
    await ada.open_home()
    await bot.until(lambda: ada.home)
    return ada


def summary(number: int, *, channel: str = "C1", thread: str = "", ended: bool = False) -> ConversationSummary:
    key = ConversationKey(platform="slack", workspace="T1", channel=channel, thread=thread)
    conversation = Conversation(
        id=number, key=key, created_at=ACTIVE, active_at=ACTIVE, ended_at=ACTIVE if ended else None, expired_at=None
    )
    return ConversationSummary(conversation=conversation, messages=number)


@pytest.mark.parametrize("run", [by_socket, by_http])
async def test_a_person_sees_their_conversations_and_nobody_elses(run: Run) -> None:
    async with interactive("To Ada.", "To Bob.", "In general.", run=run, ttl=timedelta(days=30)) as bot:
        ada, bob = bot.slack.workspace.user("Ada"), bot.slack.workspace.user("Bob")
        general = bot.slack.workspace.channel("general", ada, bob)
        await ada.say(ada.dm, "hello")
        await bot.answered(ada.dm)
        await bob.say(bob.dm, "hello")
        await bot.answered(bob.dm)
        await ada.say(general, f"{bot.slack.workspace.bot.mention} hello")
        await bot.answered(general)
        await ada.open_home()
        await bot.until(lambda: ada.home)
        listed = [block["text"]["text"] for block in ada.home.blocks if block["type"] == "section"][:-1]
        assert [line.splitlines()[0] for line in listed] == [f"*<#{general.id}>, in a thread*", "*Direct messages*"]
        assert all("2 messages" in line and "kept until <!date^" in line for line in listed)
        assert bob.home is None


async def test_who_has_no_conversation_is_told_how_to_begin_one() -> None:
    async with interactive() as bot:
        ada = bot.slack.workspace.user("Ada")
        await ada.open_home()
        await bot.until(lambda: ada.home)
        assert words.HOME_EMPTY in home_of(ada)
        assert words.HOME_INTRO in home_of(ada)


async def test_forgetting_asks_first_then_erases_and_shows_what_is_left() -> None:
    async with interactive("Hello Ada.") as bot:
        ada = await at_home(bot)
        (button,) = [element for block in ada.home.blocks for element in block.get("elements", ())]
        assert button["confirm"]["title"]["text"] == words.HOME_FORGET_TITLE
        pressed = await ada.click(ada.home, "parley_forget")
        assert pressed.acked
        await bot.until(lambda: words.HOME_EMPTY in home_of(ada))
        assert await bot.conversation(ada.dm) is None


async def test_a_conversation_whose_time_is_running_out_can_be_kept_longer() -> None:
    async with interactive("Hello Ada.", ttl=timedelta(days=30)) as bot:
        ada = bot.slack.workspace.user("Ada")
        await ada.say(ada.dm, "hello")
        await bot.answered(ada.dm)
        await bot.clock.advance(timedelta(days=29))
        await ada.open_home()
        await bot.until(lambda: ada.home)
        assert ada.home.buttons == ["parley_extend", "parley_forget"]
        before = home_of(ada)
        await ada.click(ada.home, "parley_extend")
        await bot.until(lambda: home_of(ada) != before)
        conversation = await bot.conversation(ada.dm)
        assert bot.clock.now() - conversation.active_at < timedelta(hours=1)
        assert await bot.history(ada.dm) == ["hello", "Hello Ada."]


async def test_what_is_kept_for_ever_need_not_be_kept_longer() -> None:
    async with interactive("Hello Ada.") as bot:
        ada = await at_home(bot)
        assert ada.home.buttons == ["parley_forget"]


async def test_nobody_forgets_what_is_not_listed_for_them() -> None:
    async with interactive("Hello Ada.") as bot:
        ada, bob = bot.slack.workspace.user("Ada"), bot.slack.workspace.user("Bob")
        await ada.say(ada.dm, "hello")
        await bot.answered(ada.dm)
        for user in (ada, bob):
            await user.open_home()
        await bot.until(lambda: ada.home and bob.home)
        bob.home.body = ada.home.body  # as if Bob's Slack had sent the number of Ada's conversation
        await bob.click(bob.home, "parley_forget")
        await bot.until(lambda: words.HOME_EMPTY in home_of(bob))
        assert await bot.history(ada.dm) == ["hello", "Hello Ada."]


async def test_who_may_not_speak_any_more_erases_nothing_that_others_share() -> None:
    async with interactive("To Ada.", "To Bob.", ttl=timedelta(days=30)) as bot:
        ada, bob = bot.slack.workspace.user("Ada"), bot.slack.workspace.user("Bob")
        general = bot.slack.workspace.channel("general", ada, bob)
        root = await ada.say(general, f"{bot.slack.workspace.bot.mention} hello")
        await bot.answered(general)
        await bob.say(general, "hello too", thread=root)
        await bot.answered(general, 2)
        await bot.choose("access", "deny", subject=f"user:{bob.id}")
        await bob.open_home()
        await bot.until(lambda: bob.home)
        before = await bot.conversation(general, thread=root)
        await bob.click(bob.home, "parley_extend")
        await bot.until(lambda: REFUSALS[Refusal.DENIED] in home_of(bob))
        await bob.open_home()
        await bot.until(lambda: bob.home.buttons)
        await bob.click(bob.home, "parley_forget")
        await bot.until(lambda: say.NOT_YOURS_TO_ERASE in home_of(bob))
        assert await bot.conversation(general, thread=root) == before
        assert len(await bot.history(general, thread=root)) == 4


async def test_what_is_forgotten_in_the_home_has_a_receipt_as_the_command_gives_one() -> None:
    async with interactive("Hello Ada.") as bot:
        ada = await at_home(bot)
        await ada.click(ada.home, "parley_forget")
        await bot.until(lambda: words.HOME_EMPTY in home_of(ada))
        receipt = re.search(r"1 conversation, 2 messages\. Receipt ([0-9A-F]{8})\.", home_of(ada))
        assert receipt is not None
        (entry,) = await bot.store.audit_log("slack", bot.slack.workspace.id, limit=5)
        assert (entry.action, entry.target, entry.author_id) == ("chat forget", f"receipt {receipt[1]}", "")


async def test_a_home_says_when_the_store_does_not_tell() -> None:
    async with interactive("Hello Ada.") as bot:
        ada = await at_home(bot)

        async def failing(*arguments: object, **named: object) -> None:
            raise StoreUnavailable("busy")

        listing, bot.store.conversations_of = bot.store.conversations_of, failing  # type: ignore[method-assign]
        await ada.click(ada.home, "parley_forget")
        await bot.until(lambda: home_of(ada) == words.STORE_FAILED)
        await ada.open_home()
        await bot.until(lambda: len(bot.slack.asked("views.publish")) == 3)
        bot.store.conversations_of = listing  # type: ignore[method-assign]
        assert home_of(ada) == words.STORE_FAILED


async def test_a_home_that_slack_does_not_take_is_a_line_in_the_log() -> None:
    async with interactive() as bot:
        ada = bot.slack.workspace.user("Ada")
        bot.slack.fail("views.publish", status=500)
        await ada.open_home()
        await bot.quiet()
        await bot.afterwards.close()
        assert ada.home is None
        await ada.open_home()
        await bot.until(lambda: ada.home)


def test_a_full_home_is_within_slacks_limits_and_says_that_there_is_more() -> None:
    listed = [summary(number, channel="D1" if number % 2 else "C1", thread="1.2") for number in range(1, SHOWN + 1)]
    view = view_of(listed, lambda kept: kept.active_at + timedelta(days=1))
    blocks.check(view["blocks"], most=100, payload=None)
    assert words.HOME_MORE in "\n".join(blocks.texts(view["blocks"]))


def test_an_entry_says_where_and_until_when() -> None:
    def entry(one: ConversationSummary, ttl: timedelta | None) -> str:
        view = view_of([one], lambda kept: None if ttl is None else kept.active_at + ttl)
        return view["blocks"][1]["text"]["text"]

    first = entry(summary(1, channel="D1"), None)
    assert first == (
        f"*Direct messages*\n1 message · last active <!date^{int(ACTIVE.timestamp())}^{{date_short_pretty}} at {{time}}"
        "|2026-01-02 03:04 UTC> · kept for ever"
    )
    second = entry(summary(2, thread="1.2", ended=True), timedelta(days=1))
    assert second.startswith("*<#C1>, in a thread*\n2 messages · ")
    assert "· ended · kept until <!date^" in second
    assert "2026-01-03" in second


async def test_opening_the_agent_view_proposes_four_questions() -> None:
    async with interactive() as bot:
        ada = bot.slack.workspace.user("Ada")
        await ada.open_agent(bot.slack.workspace.channel("general", ada))
        await bot.until(lambda: bot.slack.prompts)
        (prompts,) = bot.slack.prompts
        assert (prompts.channel, prompts.thread_ts, prompts.title) == (ada.dm, None, words.PROMPTS_TITLE)
        assert [prompt["title"] for prompt in prompts.prompts] == list(words.PROMPTS)
        assert len(prompts.prompts) == 4
        assert ada.home is None


async def test_looking_at_another_channel_is_acknowledged() -> None:
    async with FakeSlack(retry_after=()) as slack, interactive(slack=slack) as bot:
        ada = slack.workspace.user("Ada")
        await ada.look_at(slack.workspace.channel("general", ada))
        await bot.quiet()
        assert [delivery.acked for delivery in slack.deliveries] == [True]
