"""Parley as a whole on Discord, in one process: what people see of its answers, whatever the model says and Discord does."""

import asyncio
import itertools

import pytest

from bot.chat.access import Refusal
from bot.chat.splitting import split
from bot.chat.words_governing import REFUSALS
from bot.llm.protocol import Finish, FinishReason, Usage
from store import ConversationKey
from tests.adapters.discord.answering import SECOND, parley
from tests.fakes.discord import File

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
CALMLY = 3
"""How many times as fast as life, where a few tenths of a second of delay must not look like seconds."""
CODE = "Here it is:\n\n```python\n" + "".join(f"line_{number} = {number}\n" for number in range(300)) + "```\n\nThat is all."


async def test_ten_streams_in_one_channel_cause_no_429_and_no_stall_of_five_seconds() -> None:
    async with parley(times=CALMLY) as bot:
        channel = bot.discord.guild("Home").channel("general")
        stories = [
            [f"Story {number}:", *[item for word in range(40) for item in (SECOND / 2, f" word{word}")]]
            for number in range(10)
        ]
        bot.model.add(*stories)
        for number in range(10):
            await bot.discord.user(f"user{number}").say(channel, f"{bot.me} tell me something")
        await bot.until(lambda: len(bot.answers(channel)) == 10)
        await bot.quiet()
        ending = " ".join(f"word{word}" for word in range(40))
        assert sorted(answer.text for answer in bot.answers(channel)) == sorted(f"Story {n}: {ending}" for n in range(10))
        assert bot.discord.refused == []
        writes = bot.discord.asked("POST", "/channels/*/messages") + bot.discord.asked("PATCH", "/channels/*/messages/*")
        times = sorted(write.at for write in writes)
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert len(writes) >= 20
        assert max(pauses) * CALMLY < 5 * SECOND


async def test_a_long_answer_with_code_comes_back_whole_when_its_parts_are_joined() -> None:
    async with parley(CODE) as bot:
        channel, ada = bot.discord.guild("Home").channel("general"), bot.discord.user("ada")
        await ada.say(channel, f"{bot.me} show me the code")
        await bot.until(lambda: bot.answers(channel))
        await bot.quiet()
        shown = [answer.text for answer in bot.answers(channel)]
        planned = split(CODE, bot.adapter.surface.limits.part, bot.adapter.surface.limits.measure)
        assert len(shown) > 2
        assert [part.text.strip() for part in planned] == [text.strip() for text in shown]
        assert all(text.count("```") % 2 == 0 for text in shown), "every part's code block is closed"
        lines = [line for text in shown for line in text.splitlines() if line and not line.startswith("```")]
        assert lines == [line for line in CODE.splitlines() if line and not line.startswith("```")]
        assert [answer.silent for answer in bot.answers(channel)] == [False] + [True] * (len(shown) - 1)


async def test_an_answer_beyond_ten_messages_is_a_file() -> None:
    story = "All work and no play. " * 1500
    async with parley(story) as bot:
        channel, ada = bot.discord.guild("Home").channel("general"), bot.discord.user("ada")
        await ada.say(channel, f"{bot.me} tell me a long story")
        await bot.until(lambda: [file for answer in bot.answers(channel) for file in answer.attachments])
        await bot.quiet()
        beginning, file = bot.answers(channel)
        assert file.attachments[0].data.decode() == story
        assert beginning.text.startswith("All work")


@pytest.mark.parametrize("ping", ["@everyone", "@here", "<@{ada}>", "<@&{role}>"])
async def test_no_ping_pings_anybody_wherever_it_stands(ping: str) -> None:
    async with parley() as bot:
        guild = bot.discord.guild("Home")
        channel, ada, bob = guild.channel("general"), bot.discord.user("ada"), bot.discord.user("bob")
        guild.join(ada)
        ping = ping.format(ada=ada.id, role=guild.role("team", mentionable=True).id)
        bot.model.add([f"{ping} come", SECOND * 3, f" all! {ping}"], f"{ping} " + "again. " * 3000)
        quoted = await ada.say(channel, f"{ping} hello")
        await bob.say(channel, f"{bot.me} what is that?", reply_to=quoted, attachments=[File(f"{ping}.txt", b"x")])
        await bot.until(lambda: bot.answers(channel) and bot.answers(channel)[-1].text.endswith(ping))
        await bot.quiet()
        await bob.say(channel, f"{bot.me} more")
        await bot.until(lambda: len(bot.answers(channel)) > 2)
        await bot.quiet()
        assert {user.name for _, user in bot.discord.pings} == {"bob"}, "only who asked is told of the answer"


async def test_an_edited_question_is_answered_anew_in_place() -> None:
    async with parley("Paris.", "Rome.") as bot:
        channel, ada = bot.discord.guild("Home").channel("general"), bot.discord.user("ada")
        question = await ada.say(channel, f"{bot.me} capital of France?")
        await bot.until(lambda: channel.texts[-1] == "Paris.")
        await bot.quiet()
        first = channel.messages[-1].id
        await bot.discord.unfurl(question)
        await ada.edit(question, f"{bot.me} capital of Italy?")
        await bot.until(lambda: channel.texts[-1] == "Rome.")
        await bot.quiet()
        assert [answer.id for answer in bot.answers(channel)] == [first]
        assert [message.text for message in bot.model.prompts[1]][1:] == ["capital of Italy?"]


async def test_a_question_that_is_edited_while_its_answer_grows_is_answered_anew_in_the_same_message() -> None:
    async with parley(["Paris", asyncio.Event()], "Rome.") as bot:
        channel, ada = bot.discord.guild("Home").channel("general"), bot.discord.user("ada")
        question = await ada.say(channel, f"{bot.me} capital of France?")
        await bot.until(lambda: channel.texts[-1] == "Paris")
        first = channel.messages[-1]
        await ada.edit(question, f"{bot.me} capital of Italy?")
        await bot.until(lambda: channel.texts[-1] == "Rome.")
        await bot.quiet()
        assert [answer.id for answer in bot.answers(channel)] == [first.id]
        assert not any("stopped" in text for text in first.history)


@pytest.mark.parametrize("when", ["while it grows", "afterwards"])
async def test_a_deleted_question_takes_its_answer_along(when: str) -> None:
    hold = asyncio.Event()
    async with parley(["It is", hold, " 42."], "Fine.") as bot:
        channel, ada = bot.discord.guild("Home").channel("general"), bot.discord.user("ada")
        question = await ada.say(channel, f"{bot.me} my secret number?")
        await bot.until(lambda: channel.texts[-1] == "It is")
        if when == "afterwards":
            hold.set()
            await bot.until(lambda: channel.texts[-1] == "It is 42.")
            await bot.quiet()
        await ada.delete(question)
        await bot.until(lambda: bot.answers(channel) == [])
        await bot.quiet()
        await ada.say(channel, f"{bot.me} how are you?")
        await bot.until(lambda: channel.texts[-1] == "Fine.")
        await bot.quiet()
        assert [message.text for message in bot.model.prompts[-1]][1:] == ["how are you?"]


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("POST", {"status": 502}),
        ("POST", {"status": 503}),
        ("POST", {"status": 503, "after": True}),
        ("POST", {"status": None, "after": True}),
        ("POST", {"status": None}),
        ("POST", {"status": 429, "body": {"message": "slow down", "retry_after": 0.2, "global": False}}),
        ("PATCH", {"status": 502, "times": 2}),
        ("PATCH", {"status": 503, "times": 2}),
        ("PATCH", {"status": None, "after": True}),
        ("PATCH", {"status": 429, "body": {"message": "slow down", "retry_after": 0.2, "global": False}}),
    ],
    ids=str,
)
async def test_whatever_fails_in_the_middle_of_an_answer_it_is_seen_once_and_whole(
    method: str, fault: dict[str, object]
) -> None:
    async with parley(["One", SECOND * 3, " two", SECOND * 3, " three." + " More." * 400]) as bot:
        channel, ada = bot.discord.guild("Home").channel("general"), bot.discord.user("ada")
        path = "/channels/*/messages" if method == "POST" else "/channels/*/messages/*"
        bot.discord.fail(method, path, **fault)
        await ada.say(channel, f"{bot.me} count")
        await bot.until(lambda: len(bot.answers(channel)) >= 2)
        await bot.quiet()
        shown = "".join(answer.text for answer in bot.answers(channel))
        assert shown.replace(" ", "") == ("One two three." + " More." * 400).replace(" ", "")
        assert len(bot.model.prompts) == 1


async def test_a_channel_that_goes_while_the_answer_grows_ends_the_turn_as_undeliverable() -> None:
    async with parley(["Going", SECOND * 2, " going", SECOND * 2, " gone."]) as bot:
        guild = bot.discord.guild("Home")
        channel, ada = guild.channel("general"), bot.discord.user("ada")
        await ada.say(channel, f"{bot.me} are you there?")
        await bot.until(lambda: channel.texts[-1].startswith("Going"))
        await channel.delete()
        await bot.quiet()
        key = ConversationKey(platform="discord", workspace=str(guild.id), channel=str(channel.id), user=str(ada.id))
        assert await bot.parley.store.find(key) is None
        facts = await bot.parley.store.facts(1)
        assert facts is not None
        assert facts.state == "undeliverable"


async def test_text_files_are_read_pictures_are_seen_and_the_rest_is_named() -> None:
    async with parley("I see.", LLM_PROVIDER="anthropic", LLM_API_KEY="key", LLM_MODEL="claude") as bot:
        channel, ada = bot.discord.guild("Home").channel("general"), bot.discord.user("ada")
        files = [File("notes.txt", b"Buy milk."), File("cat.png", PNG), File("data.bin", b"\x00\x01\x02")]
        await ada.say(channel, f"{bot.me} look", attachments=files)
        await bot.until(lambda: bot.answers(channel))
        await bot.quiet()
        question = bot.model.prompts[0][-1]
        assert "Buy milk." in question.text
        assert [(image.media_type, image.data) for image in question.images] == [("image/png", PNG)]
        assert "data.bin" in question.text
        assert "data.bin" in bot.answers(channel)[-1].text, "the person is told what could not be read"


async def test_a_reply_to_an_answer_continues_its_conversation_whoever_replies() -> None:
    async with parley("42.", "Because.") as bot:
        channel, ada, bob = (
            bot.discord.guild("Home").channel("general"),
            bot.discord.user("ada"),
            bot.discord.user("bob"),
        )
        await ada.say(channel, f"{bot.me} the answer?")
        await bot.until(lambda: channel.texts[-1] == "42.")
        await bot.quiet()
        await bob.say(channel, "why?", reply_to=channel.messages[-1], ping_reply=False)
        await bot.until(lambda: channel.texts[-1] == "Because.")
        assert [message.text for message in bot.model.prompts[1]][1:] == ["ada: the answer?", "42.", "bob: why?"]


async def test_a_channel_can_listen_be_shared_and_answer_in_threads() -> None:
    async with parley("One.", "Two.", "Three.", "Four.") as bot:
        guild = bot.discord.guild("Home")
        channel, ada, bob = guild.channel("general"), bot.discord.user("ada"), bot.discord.user("bob")
        await bot.choose(channel, "trigger", "listen")
        await bot.choose(channel, "scope", "channel")
        await ada.say(channel, "first")
        await bot.until(lambda: channel.texts[-1] == "One.")
        await bot.quiet()
        await bob.say(channel, "second")
        await bot.until(lambda: channel.texts[-1] == "Two.")
        assert [message.text for message in bot.model.prompts[1]][1:] == ["ada: first", "One.", "bob: second"]
        await bot.quiet()

        await bot.choose(channel, "trigger", "mention")
        await bot.choose(channel, "placement", "thread")
        question = await ada.say(channel, f"{bot.me} third")
        await bot.until(lambda: question.thread is not None and question.thread.texts[-1].endswith("Three."))
        await bot.quiet()
        told = [(message.channel, user) for message, user in bot.discord.pings]
        assert told == [(channel, ada), (channel, bob), (question.thread, ada)]
        await bob.say(question.thread, "and the fourth, without a mention?")
        await bot.until(lambda: question.thread.texts[-1] == "Four.")
        assert bot.model.prompts[3][-1].text == "bob: and the fourth, without a mention?"


async def test_other_bots_are_ignored_unless_they_are_allowed_and_then_three_times_in_a_row() -> None:
    async with parley("Only me.", "One.", "Two.", "Three.", "Hello.") as bot:
        channel, ada, robot = (
            bot.discord.guild("Home").channel("general"),
            bot.discord.user("ada"),
            bot.discord.user("robot", bot=True),
        )
        await robot.say(channel, f"{bot.me} beep?")
        await ada.say(channel, f"{bot.me} who is there?")
        await bot.until(lambda: channel.texts[-1] == "Only me.")
        await bot.quiet()
        await bot.choose(channel, "bots", "on")
        await bot.choose(channel, "scope", "channel")
        for number, answer in enumerate(["One.", "Two.", "Three."]):
            await robot.say(channel, f"{bot.me} beep {number}")
            await bot.until(lambda answer=answer: channel.texts[-1] == answer)
            await bot.quiet()
        await robot.say(channel, f"{bot.me} beep 4")
        await ada.say(channel, f"{bot.me} hello")
        await bot.until(lambda: channel.texts[-1] == "Hello.")
        assert bot.model.prompts[4][-1].text.endswith("hello")
        assert "beep 4" not in str(bot.model.prompts[4])


async def test_an_answer_that_was_cut_can_be_continued_and_typing_is_shown_until_there_is_text() -> None:
    cut = Finish(reason=FinishReason.LENGTH, usage=Usage(), model="scripted")
    async with parley([SECOND * 12, "Once upon", cut], "a time.", times=CALMLY) as bot:
        channel, ada = bot.discord.guild("Home").channel("general"), bot.discord.user("ada")
        await ada.say(channel, f"{bot.me} a story")
        await bot.until(lambda: bot.answers(channel) and "Continue" in bot.answers(channel)[-1].labels)
        assert len(channel.typing) == 2, "at once, and again before it fades"
        await bot.quiet()
        await ada.click(bot.answers(channel)[-1], "Continue")
        await bot.until(lambda: channel.texts[-1] == "a time.")
        assert bot.model.prompts[1][-1].text == "Continue."


async def test_who_may_not_speak_is_told_so_once_and_nothing_of_it_is_kept() -> None:
    async with parley("Welcome.") as bot:
        guild, alice = bot.discord.guild("Home"), bot.discord.user("alice")
        general = guild.channel("general")
        guild.join(alice, pending=True)
        for text in ("hello", "hello?"):
            await alice.say(general, f"{bot.me} {text}")
        await bot.until(lambda: bot.answers(general))
        guild.join(alice, pending=False)
        await alice.say(general, f"{bot.me} and now?")
        await bot.until(lambda: len(bot.answers(general)) == 2)
        await bot.quiet()
        assert [message.text for message in bot.answers(general)] == [REFUSALS[Refusal.GUEST], "Welcome."]
        assert [message.text for message in bot.model.prompts[0] if message.text.startswith(("hello", "and"))] == [
            "and now?"
        ]
