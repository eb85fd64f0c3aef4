"""A Slack message as we take it in: who said what to whom, with Slack's markup made readable. Pure.

Laws, proved in `tests/adapters/slack/test_inbound.py`: nothing is made of our own messages and of Slack's notices; no text
that comes out can ping anybody, however often it is said again.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from bot.adapters.slack.stamps import moment_of, position_of
from bot.adapters.where import Where
from bot.chat.callers import UNKNOWN, Kind, Standing
from bot.chat.protocol import Address, FileOffer, IncomingMessage, Place, Quote

PLATFORM = "slack"
SPEECH = (None, "file_share", "thread_broadcast", "me_message", "bot_message")
"""The subtypes of what somebody said; every other is a notice of Slack's: somebody joined, the topic is another."""
NOTICES_BY = "USLACKBOT"
SOMEONE = "someone"
UNKNOWN_TYPE = "application/octet-stream"
QUOTES = 10
PEOPLE = 30
"""People of one message whose names are looked up; 100 a minute may be."""

Json = Any

_MARKUP = re.compile(r"<(?P<kind>[@#!]?)(?P<what>[^<>|]*)(?:\|(?P<label>[^<>]*))?>")
_BROADCASTS = ("channel", "here", "everyone")
_PING = re.compile(r"<(?=[@!#])|@(?=channel|here|everyone)", re.IGNORECASE)
_USER = re.compile(r"<@(?P<user>[A-Z0-9]{1,50})(?:\|[^<>]*)?>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Us:
    """Who we are where a message was said. `workspace` is the team's id, or the enterprise's where we serve all of it."""

    workspace: str
    user_id: str
    bot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What people are called, by their ids; who is not in it is "someone"."""

    of: Mapping[str, str] = field(default_factory=dict)

    def get(self, user: str) -> str:
        return self.of.get(user) or SOMEONE


NOBODY = Names()


def is_ours(message: Json, us: Us) -> bool:
    """Tell whether we said it ourselves."""
    return message.get("user") == us.user_id or (us.bot_id != "" and message.get("bot_id") == us.bot_id)


def is_speech(message: Json, us: Us) -> bool:
    """Tell whether somebody else said it: neither we nor Slack itself."""
    return (
        message.get("type") in ("message", "app_mention")
        and message.get("subtype") in SPEECH
        and not message.get("hidden")
        and not is_ours(message, us)
        and message.get("user") != NOTICES_BY
        and bool(message.get("user") or message.get("bot_id"))
    )


def where_of(message: Json, us: Us) -> Where:
    """Name the place of a message. Its own `ts` as `thread_ts` means that others replied to it: it begins that thread."""
    channel = str(message["channel"])
    thread = str(message.get("thread_ts") or "")
    if thread == message["ts"]:
        thread = ""
    if message.get("channel_type") == "im" or channel.startswith("D"):
        place = Place.DIRECT
    else:
        place = Place.THREAD if thread else Place.CHANNEL
    return Where(place=place, workspace=us.workspace, channel=channel, thread=thread)


def incoming(
    message: Json, us: Us, names: Names = NOBODY, *, standing: Standing = UNKNOWN, event_id: str = ""
) -> IncomingMessage | None:
    """Normalise a `message` or an `app_mention`; None when it is nothing that somebody said to be heard.

    `standing` is that of its author; a bot's is plain from the message itself.

    The two events that Slack sends for one mention come out alike, save for their `event_id`.

    Raises:
        KeyError, ValueError: Slack does not write messages like this.
    """
    if not is_speech(message, us):
        return None
    where, ts = where_of(message, us), str(message["ts"])
    said = str(message.get("text") or "") or _said_by_parts(message)
    mentioned = message["type"] == "app_mention" or us.user_id in mentions_of(said)
    return IncomingMessage(
        place=where.place,
        address=Address(
            platform=PLATFORM,
            workspace=where.workspace,
            channel=where.channel,
            thread=ts if _begins_thread(message, where) else where.thread,
            reply_to=ts,
        ),
        event_id=event_id,
        message_id=ts,
        position=position_of(ts),
        author_id=str(message.get("user") or message["bot_id"]),
        author_name=readable_name(_name_of_author(message, names)),
        text=readable(_without_our_mention(said, us), names),
        sent_at=moment_of(ts),
        standing=Standing(kind=Kind.BOT) if message.get("bot_id") else standing,
        addressed=where.place is Place.DIRECT or mentioned,
        from_bot=bool(message.get("bot_id")),
        quotes=tuple(_quotes(message, names)),
        files=tuple(_offers(message)),
    )


def _begins_thread(message: Json, where: Where) -> bool:
    """Tell whether people see a direct message as a thread's first: in the agent view they see all of them so, and to these
    alone Slack adds `app_context`, what is looked at beside them."""
    return where.place is Place.DIRECT and not where.thread and "app_context" in message


def team_of(message: Json) -> str:
    """Name the team of who said it as the event does, "" when it does not."""
    return str(message.get("user_team") or message.get("source_team") or message.get("team") or "")


def command_line(message: Json, us: Us) -> str:
    """Return what was said as a command may read it: without our mention, and with the ids of those whom it mentions."""
    return argument(_without_our_mention(str(message.get("text") or ""), us)).strip()


def argument(text: str) -> str:
    """Return what was typed behind a command: mentions by their ids alone, links and signs as they were typed."""
    pieces: list[str] = []
    end = 0
    for found in _MARKUP.finditer(text):
        mention = f"<{found['kind']}{found['what']}>" if found["kind"] else _shown(found, NOBODY)
        pieces += [_unescaped(text[end : found.start()]), mention]
        end = found.end()
    return "".join([*pieces, _unescaped(text[end:])])


def mentions_of(text: str) -> list[str]:
    """List the ids of those whom a text mentions, each once."""
    return list(dict.fromkeys(found["user"] for found in _USER.finditer(text)))


def people_of(message: Json) -> list[str]:
    """List the ids of those whose names `incoming` wants to know: the author first."""
    texts = [message.get("text"), *(quoted.get("text") for quoted in _quoted(message))]
    authors = [message["user"]] if message.get("user") else []
    return list(dict.fromkeys([*authors, *(user for text in texts for user in mentions_of(str(text or "")))]))[:PEOPLE]


def readable(text: str, names: Names = NOBODY) -> str:
    """Replace Slack's markup by what people see, and its escapes by what they wrote."""
    shown: list[str] = []
    end = 0
    for found in _MARKUP.finditer(text):
        shown += [_unescaped(text[end : found.start()]), _shown(found, names)]
        end = found.end()
    # Last of all: a name may hold what makes a ping together with the text around it.
    return without_pings("".join([*shown, _unescaped(text[end:])]))


def readable_name(name: str) -> str:
    """Return a name as it may stand in a text: in one line, and nothing that pings."""
    return without_pings(" ".join(name.split())) or SOMEONE


def without_pings(text: str) -> str:
    """Break what Slack or a careless reader would take for a ping."""
    return _PING.sub(lambda ping: ping[0] + "\u200b", text)


def _shown(found: re.Match[str], names: Names) -> str:
    kind, what, label = found["kind"], _unescaped(found["what"]), _unescaped(found["label"] or "")
    match kind:
        case "@":
            return "@" + (names.of.get(what) or label or SOMEONE)
        case "#":
            return "#" + (label or "unknown-channel")
        case "!":
            return _special(what, label)
    address = what.removeprefix("mailto:").removeprefix("tel:")
    if label in ("", what, address) or what.partition("://")[2].rstrip("/") == label.rstrip("/"):
        return address
    return f"{label} ({address})"


def _special(what: str, label: str) -> str:
    command = what.partition("^")[0]
    if command in _BROADCASTS:
        return f"@{command}"
    if command == "subteam":
        return "@" + (label.removeprefix("@") or "group")
    return label or command  # a date has its words as the label


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _without_our_mention(text: str, us: Us) -> str:
    """Take our mention out where it is a form of address; inside a sentence it is a word of it."""
    before, behind = _forms_of_address(us.user_id)
    return behind.sub("", before.sub("", text))


@lru_cache(maxsize=1_000)  # workspaces; `re` itself keeps 512 patterns of all, and writing these takes a millisecond
def _forms_of_address(user: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    mention = rf"<@{re.escape(user)}(?:\|[^<>]*)?>"
    return re.compile(rf"\A\s*(?:{mention}\s*[,:]?\s*)+"), re.compile(rf"(?:[\s,]*{mention})+\s*\Z")


def _name_of_author(message: Json, names: Names) -> str:
    if message.get("user") in names.of:
        return names.get(str(message["user"]))
    profile = message.get("user_profile") or {}
    given = profile.get("display_name") or profile.get("real_name") or message.get("username")
    return str(given or (message.get("bot_profile") or {}).get("name") or SOMEONE)


def _said_by_parts(message: Json) -> str:
    """Return what a bot said that writes no text: its sections, or what stands for its attachments."""
    if not message.get("bot_id"):
        return ""
    sections = [block.get("text") for block in message.get("blocks") or () if block.get("type") in ("section", "header")]
    texts = [str(section.get("text") or "") for section in sections if isinstance(section, dict)]
    fallbacks = [str(part.get("text") or part.get("fallback") or "") for part in _attached(message) if not _is_share(part)]
    return "\n".join(text for text in (*texts, *fallbacks) if text)


def _attached(message: Json) -> list[Json]:
    return [part for part in message.get("attachments") or () if isinstance(part, dict)]


def _is_share(part: Json) -> bool:
    """Tell whether an attachment shows another message: one that was shared, or one whose link was posted."""
    return bool(part.get("is_share") or part.get("is_msg_unfurl") or part.get("message_blocks"))


def _quoted(message: Json) -> list[Json]:
    return [part for part in _attached(message) if _is_share(part)][:QUOTES]


def _quotes(message: Json, names: Names) -> Iterable[Quote]:
    for part in _quoted(message):
        author = str(part.get("author_name") or part.get("author_subname") or "")
        text = readable(str(part.get("text") or part.get("fallback") or ""), names)
        named = [f"(file: {without_pings(str(file.get('name') or 'unnamed'))})" for file in part.get("files") or ()]
        yield Quote(author_name=readable_name(author) if author else "", text="\n".join([text, *named] if text else named))


def _offers(message: Json) -> Iterable[FileOffer]:
    for file in message.get("files") or ():
        if file.get("mode") == "tombstone":  # somebody deleted it
            continue
        yield FileOffer(
            name=str(file.get("name") or file.get("title") or "unnamed"),
            media_type=str(file.get("mimetype") or UNKNOWN_TYPE),
            size=int(file.get("size") or 0),
            url=str(file.get("url_private") or ""),
        )
