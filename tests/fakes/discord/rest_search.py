"""The search for messages of a guild, which answers 202 as long as it indexes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.fakes.discord import refusals
from tests.fakes.discord.messages import Message
from tests.fakes.discord.rest import Answer, Call, Routes
from tests.fakes.discord.rest_places import find_guild

if TYPE_CHECKING:
    from multidict import MultiMapping

Json = Any


def search(call: Call) -> Json:
    guild = find_guild(call)
    discord = call.discord
    if not discord.search:
        raise refusals.unknown("Search")
    if not discord.message_content:
        raise refusals.missing_access()
    if discord.indexing > 0:
        discord.indexing -= 1
        body = {"message": "Index not yet available. Try again later", "code": 110000, "documents_indexed": 0}
        return Answer(202, body | {"retry_after": discord.indexing_retry_after})
    limit, offset = call.number("limit", 25, 1, 25), call.number("offset", 0, 0, 9975)
    places = [*guild.channels.values(), *guild.threads.values()]
    readable = [place for place in places if place.may(discord.bot, "VIEW_CHANNEL", "READ_MESSAGE_HISTORY")]
    found = [message for place in readable for message in place.messages if _matches(message, call.web.query)]
    found.sort(key=lambda message: message.id, reverse=call.web.query.get("sort_order", "desc") == "desc")
    page = found[offset : offset + limit]
    threads = {message.channel.id: message.channel for message in page if message.channel.id in guild.threads}
    return {
        "analytics_id": "0",
        "doing_deep_historical_index": False,
        "total_results": len(found),
        "messages": [[call.show(message) | {"hit": True}] for message in page],
        "threads": [thread.json() for thread in threads.values()],
        "members": [],
    }


def _matches(message: Message, query: "MultiMapping[str]") -> bool:
    """Say whether every criterion that was given holds."""
    replied_to = message.reference.author.id if message.reference is not None else None
    mentioned = {str(user.id) for user in message.mentions.users}
    kinds = {"bot": message.author.bot and not message.webhook, "user": not message.author.bot, "webhook": message.webhook}
    criteria: dict[str, Callable[[list[str]], bool]] = {
        "min_id": lambda values: message.id > int(values[0]),
        "max_id": lambda values: message.id < int(values[0]),
        "author_id": lambda values: str(message.author.id) in values,
        "channel_id": lambda values: str(message.channel.id) in values,
        "mentions": lambda values: bool(mentioned & set(values)),
        "mentions_role_id": lambda values: bool({str(role.id) for role in message.mentions.roles} & set(values)),
        "replied_to_user_id": lambda values: str(replied_to) in values,
        "replied_to_message_id": lambda values: message.reference is not None and str(message.reference.id) in values,
        "mention_everyone": lambda values: message.mentions.everyone == (values[0] == "true"),
        "author_type": lambda values: any(kinds.get(value, False) for value in values),
        "content": lambda values: values[0].lower() in message.content.lower(),
        "has": lambda values: not {"file", "image"} & set(values) or bool(message.attachments),
    }
    return all(holds(query.getall(name)) for name, holds in criteria.items() if name in query)


ROUTES: Routes = {("GET", "/guilds/{guild_id}/messages/search"): search}
