"""Hostile texts on Discord: the real surface and commands on the wire-level fake, every write of which is looked at."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from bot.chat.words import TurnError, shown
from bot.llm.protocol import Finish, FinishReason, LLMUnavailable, StreamBroken, Usage
from tests.adapters.discord.interactive import InteractiveBot, address_of, interactive
from tests.fakes.discord import Channel, Message, User
from tests.fakes.discord.rest import Request
from tests.trials.hostile_seen import Seen
from tests.trials.hostile_texts import aimed

SUPPRESS_EMBEDS = 1 << 2
LABELS = {"Stop", "Regenerate", "Continue"}
WORD = "word "
_MESSAGES = re.compile(r"/channels/\d+/messages(/\d+)?|/webhooks/.*|/interactions/.*")
_LINK = re.compile(r"https?://|www\.|discord\.gg")
_CALLS = re.compile(r"@(everyone|here)|<[@#]|[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_FILE_NAME = re.compile(r"[\w.-]{1,100}", re.ASCII)

Json = Any


async def out_on_discord(texts: Sequence[str], sent: Callable[[], None]) -> Seen:
    """Send each text on every way out, and look at all that went over the wire and at what came of it."""
    seen = Seen()
    async with interactive() as bot:
        bob, askers = bot.discord.user("bob"), set()
        role = bot.guild.role("crew", mentionable=True)
        bot.guild.join(bob, [role])
        ids = {"bob": str(bob.id), "role": str(role.id)}
        for number, text in enumerate(texts):
            room = bot.guild.channel(f"room{number}")
            ada = bot.discord.user(f"ada{number}")  # somebody else each time: all that is kept of one person is exported
            bot.guild.join(ada)
            askers.add(str(ada.id))
            await _Sender(bot, room, ada, aimed(text, room=str(room.id), group="1", **ids), seen).send_all()
            sent()
        _look_at_the_wire(bot, askers, seen)
    return seen


class _Sender:
    """Sends one text on every way, in a channel of its own."""

    def __init__(self, bot: InteractiveBot, room: Channel, ada: User, text: str, seen: Seen) -> None:
        self._bot, self._room, self._ada, self._text, self._seen = bot, room, ada, text, seen

    async def send_all(self) -> None:
        text, long = self._text, self._bot.surface.limits.part
        await self._ask(text)  # the first post
        await self._ask("Well, ", timedelta(seconds=5), text)  # an edit
        await self._ask(WORD * (long // len(WORD)) + text)  # a part behind the first
        await self._ask(WORD * (11 * long // len(WORD)) + text)  # a file
        await self._ask(text, StreamBroken(text))  # what broke off
        await self._fail()
        await self._ask("Well.", Finish(reason=FinishReason.STOP, usage=Usage(), model=text))  # a model's name
        await self._ask(text, question=text.replace("\0", " "))  # a person's words, in which nothing may be that is no text
        await self._press()
        await self._command()
        await self._begin_thread()

    async def _ask(self, *answer: Any, question: str = "and?") -> Message:
        asked = await self._ada.say(self._room, question)
        self._bot.model.add(answer)
        self._conversation = await self._bot.hear(asked)
        await self._bot.quiet()
        self._seen.sent += 1
        return self._bot.shown(self._room)[-1]

    async def _fail(self) -> None:
        told = await self._ask(LLMUnavailable(self._text))
        if told.text != shown(None, TurnError.UNAVAILABLE):
            self._seen.spoofs.append(f"error: {told.text!r}")

    async def _press(self) -> None:
        self._bot.model.add([self._text])
        await self._ada.click(self._bot.shown(self._room)[-1], "Regenerate")
        await self._bot.quiet()
        self._seen.sent += 1

    async def _command(self) -> None:
        calls: list[tuple[User, tuple[str, ...], dict[str, Any]]] = [
            (self._ada, ("chat", "persona"), {"text": self._text}),
            (self._ada, ("chat", "persona"), {}),
            (self._ada, ("chat", "history"), {}),
            (self._ada, ("chat", "usage"), {}),
            (self._ada, ("chat", "export"), {}),
            (self._bot.olga, ("parley", "show"), {"id": self._conversation}),
            (self._bot.olga, ("parley", "conversations"), {}),
            (self._bot.olga, ("parley", "usage"), {}),
        ]
        for who, names, options in calls:
            call = await who.slash(self._room, *names, **options)
            await self._bot.discord.until(lambda: call.original is not None and not call.original.loading)  # noqa: B023
            self._seen.sent += 1

    async def _begin_thread(self) -> None:
        # Who mentions the bot is read by it, whatever it may read otherwise: the name is made of these words.
        asked = await self._ada.say(self._room, f"{self._bot.discord.bot.mention} {self._text}")
        at = replace(address_of(self._room, reply_to=asked), thread=str(asked.id))
        await self._bot.surface.post(at, self._text, nonce=f"thread-{asked.id}"[:25])
        self._seen.sent += 1
        name = asked.thread.name if asked.thread is not None else ""
        if not name or _CALLS.search(name):
            self._seen.spoofs.append(f"thread: {name!r}")


def _look_at_the_wire(bot: InteractiveBot, askers: Collection[str], seen: Seen) -> None:
    for request in bot.discord.requests:
        if request.method in ("POST", "PATCH") and _MESSAGES.fullmatch(request.path):
            _look_at(request, askers, seen)
    for message, user in bot.discord.pings:
        if str(user.id) not in askers:  # who asks is told of the answer, once
            seen.pings.append(f"{user.name} by {message.text[:200]!r}")
    messages = [message for channel in bot.discord.channels.values() for message in channel.messages]
    messages += [message for used in bot.discord.interactions for message in used.messages]
    for message in messages:
        if message.author is not bot.discord.bot:
            continue
        if not message.flags & SUPPRESS_EMBEDS and _LINK.search(message.text):
            seen.unfurls.append(repr(message.text[:200]))
        seen.spoofs += [f"label: {label!r}" for label in message.labels if label not in LABELS]
        names = [file.file.name for file in message.attachments]
        seen.spoofs += [f"file: {name!r}" for name in names if not _FILE_NAME.fullmatch(name)]


def _look_at(request: Request, askers: Collection[str], seen: Seen) -> None:
    body: Json = request.body.get("data") or {} if request.path.endswith("/callback") else request.body
    if not body.get("content") and "components" not in body:
        return  # such as the sign that a command is under way
    allowed = body.get("allowed_mentions") or {}
    guarded = allowed.get("parse") == [] and not allowed.get("roles") and set(allowed.get("users") or ()) <= set(askers)
    folded = request.method == "PATCH" or (body.get("flags") or 0) & SUPPRESS_EMBEDS
    if not guarded or not folded or body.get("embeds") or body.get("tts"):
        seen.unguarded.append(f"{request.method} {request.path}: {body}")
