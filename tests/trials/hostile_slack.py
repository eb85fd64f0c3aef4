"""Hostile texts on Slack: the real surface, commands and Home on the wire-level fake, every call of which is looked at."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from bot.chat.words import TurnError, shown
from bot.llm.protocol import Finish, FinishReason, LLMUnavailable, StreamBroken, Usage
from tests.adapters.slack.interactive import InteractiveBot, interactive
from tests.adapters.slack.showing import answers, text_of
from tests.fakes.slack import Channel, FakeSlack, Message, User
from tests.trials.hostile_seen import Seen
from tests.trials.hostile_texts import aimed

WORD = "word "
PLENTY = 10_000
_CALLS = re.compile(r"<!(?:channel|here|everyone|subteam)\b|<@[UW][A-Z0-9]", re.IGNORECASE)
_WRITES = re.compile(r"chat\.|views\.|files\.|assistant\.|response_url")

Json = Any


async def out_on_slack(texts: Sequence[str], sent: Callable[[], None]) -> Seen:
    """Send each text on every way out, and look at all that went over the wire and at what came of it."""
    seen = Seen()
    limits = dict.fromkeys(("users.info", "chat.postEphemeral", "chat.postMessage", "views.publish", "chat.update"), PLENTY)
    async with FakeSlack(retry_after=(timedelta(),), limits=limits) as slack, interactive(slack=slack) as bot:
        home = slack.workspace
        bob = home.user("Bob")
        group = home.group(bob).removeprefix("<!subteam^").removesuffix(">")
        for number, text in enumerate(texts):
            ada = home.user(f"Ada{number}")  # somebody else each time: all that is kept of one person is exported
            room = home.channel(f"room{number}", ada, bob, bot.olga)
            aim = aimed(text, bob=bob.id, room=room.id, group=group, role=group)
            await _Sender(bot, room, ada, aim, seen).send_all()
            sent()
        _look_at_the_wire(bot, seen)
    return seen


class _Sender:
    """Sends one text on every way, in a channel of its own."""

    def __init__(self, bot: InteractiveBot, room: Channel, ada: User, text: str, seen: Seen) -> None:
        self._bot, self._room, self._ada, self._text, self._seen = bot, room, ada, text, seen
        self._root: Message | None = None

    async def send_all(self) -> None:
        text, long = self._text, 3000
        await self._ask(text)  # the first post
        await self._ask("Well, ", timedelta(seconds=5), text)  # an edit
        await self._ask(WORD * (long // len(WORD)) + text)  # a part behind the first
        await self._ask(WORD * (11 * long // len(WORD)) + text)  # a file
        await self._ask(text, StreamBroken(text))  # what broke off
        await self._fail()
        await self._ask("Well.", Finish(reason=FinishReason.STOP, usage=Usage(), model=text))  # a model's name
        await self._ask(text, question=text.replace("\0", " "))  # a person's words, in which nothing may be that is no text
        await self._command()
        await self._look_home()

    async def _say(self, text: str) -> None:
        mention = self._bot.slack.workspace.bot.mention
        said = await self._ada.say(self._room, f"{mention} {text}", thread=self._root)
        self._root = self._root or said

    async def _ask(self, *answer: Any, question: str = "and?") -> Message:
        self._bot.model.add(answer)
        before = len(self._bot.model.prompts)
        await self._say(question)
        await self._bot.until(lambda: len(self._bot.model.prompts) > before)
        await self._bot.quiet()
        self._seen.sent += 1
        return answers(self._room)[-1]

    async def _fail(self) -> None:
        told = text_of(await self._ask(LLMUnavailable(self._text)))
        if told != shown(None, TurnError.UNAVAILABLE):
            self._seen.spoofs.append(f"error: {told!r}")

    async def _command(self) -> None:
        one_line = " ".join(self._text.split())
        for typed in (f"!persona {one_line}", "!persona", "!history", "!usage", "!export"):
            before = len(self._ada.ephemerals)
            await self._say(typed)
            await self._bot.until(lambda: len(self._ada.ephemerals) > before)  # noqa: B023
            await self._bot.quiet()
            self._seen.sent += 1
        for who, command, words in (
            (self._ada, "/chat", f"persona {one_line}"),
            (self._ada, "/chat", "history"),
            (self._bot.olga, "/parley", "conversations"),
            (self._bot.olga, "/parley", "usage"),
        ):
            before = len(who.ephemerals)
            await who.slash(command, words, self._room)
            await self._bot.until(lambda: len(who.ephemerals) > before)  # noqa: B023
            self._seen.sent += 1

    async def _look_home(self) -> None:
        published = len(self._bot.slack.published)
        await self._ada.open_home()
        await self._bot.until(lambda: len(self._bot.slack.published) > published)
        self._seen.sent += 1


def _look_at_the_wire(bot: InteractiveBot, seen: Seen) -> None:
    slack = bot.slack
    calls = [(request.method, request.body) for request in slack.requests if _WRITES.match(request.method)]
    calls += [("response_url", body) for used in slack.interactions for body in used.responses]
    for method, body in calls:
        if found := [text for text in _texts(body) if _CALLS.search(text)]:
            seen.pings.append(f"{method}: {found[0][:200]!r}")
        previews = method in ("chat.postMessage", "response_url") and any(
            _flag(body.get(name, True)) for name in ("unfurl_links", "unfurl_media")
        )
        if previews or _flag(body.get("link_names", False)) or body.get("parse", "none") != "none":
            seen.unguarded.append(f"{method}: {body}")
    seen.pings += [f"{user.name} by {message.shown[:200]!r}" for message, user in slack.pings]
    seen.unfurls += [f"{url} in {message.shown[:200]!r}" for message, url in slack.unfurled]


def _texts(value: Json) -> Iterator[str]:
    """Yield every text in what was sent, also in JSON that was sent as a text."""
    if isinstance(value, str):
        try:
            inner = json.loads(value) if value[:1] in ("[", "{") else None
        except ValueError:
            inner = None
        if isinstance(inner, list | dict):
            yield from _texts(inner)
        else:
            yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _flag(value: Json) -> bool:
    return str(value).lower() not in ("false", "0", "")
