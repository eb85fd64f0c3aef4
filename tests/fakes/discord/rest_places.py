"""REST calls on the bot itself, guilds, channels, threads and members."""

from datetime import UTC, datetime
from typing import Any

from tests.fakes.discord import doings, forms, refusals, rest_messages
from tests.fakes.discord.guilds import Guild
from tests.fakes.discord.messages import Message
from tests.fakes.discord.places import Channel, Thread
from tests.fakes.discord.refusals import Refusal
from tests.fakes.discord.rest import Answer, Call, Routes

Json = Any


def me(call: Call) -> Json:
    return call.discord.bot.json() | {"email": None, "verified": True, "mfa_enabled": True, "locale": "en-US"}


def application(call: Call) -> Json:
    return {
        "id": str(call.discord.application_id),
        "name": call.discord.bot.name,
        "icon": None,
        "description": "",
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": "00" * 32,
        "owner": {"id": "1", "username": "maker", "discriminator": "0", "avatar": None, "global_name": None},
        "team": None,
        "flags": call.discord.application_flags,
        "interactions_endpoint_url": None,
        "approximate_guild_count": len(call.discord.guilds),
        "approximate_user_install_count": 0,
        "bot": call.discord.bot.json(),
    }


def gateway(call: Call) -> Json:
    return {"url": call.discord.gateway_url}


def gateway_bot(call: Call) -> Json:
    left = call.discord.identify_quota - len(call.discord.identifies)
    limit = {
        "total": call.discord.identify_quota,
        "remaining": max(0, left),
        "reset_after": 86_400_000,
        "max_concurrency": 1,
    }
    return {"url": call.discord.gateway_url, "shards": call.discord.shards, "session_start_limit": limit}


def user(call: Call) -> Json:
    found = call.discord.users.get(call.id("user_id"))
    if found is None:
        raise refusals.unknown("User")
    return found.json()


def open_dm(call: Call) -> Json:
    user = call.discord.users.get(int(call.body["recipient_id"]))
    if user is None or user is call.discord.bot:
        raise refusals.invalid_form("recipient_id", "INVALID_RECIPIENT", "Invalid Recipient(s)")
    return call.discord.dm(user).json()


def my_guilds(call: Call) -> Json:
    return [
        {"id": str(guild.id), "name": guild.name, "icon": None, "owner": False, "permissions": "0", "features": []}
        for guild in call.discord.guilds.values()
    ]


def find_guild(call: Call) -> Guild:
    guild = call.discord.guilds.get(call.id("guild_id"))
    if guild is None:
        raise refusals.missing_access() if call.id("guild_id") in call.discord.once_known else refusals.unknown("Guild")
    return guild


def guild(call: Call) -> Json:
    found = find_guild(call)
    counts = {"approximate_member_count": len(found.members), "approximate_presence_count": 1}
    return found.json(event=False) | (counts if call.web.query.get("with_counts") in ("1", "true") else {})


def channels(call: Call) -> Json:
    return [channel.json() for channel in find_guild(call).channels.values()]


def roles(call: Call) -> Json:
    return [role.json() for role in find_guild(call).roles.values()]


def active_threads(call: Call) -> Json:
    bot = call.discord.bot
    threads = [
        thread for thread in find_guild(call).threads.values() if not thread.archived and thread.may(bot, "VIEW_CHANNEL")
    ]
    members = [thread.member_json() for thread in threads if thread.joined]
    return {"threads": [thread.json() for thread in threads], "members": members}


def archived_threads(call: Call) -> Json:
    channel = call.channel("READ_MESSAGE_HISTORY")
    assert channel.guild is not None
    threads = [thread for thread in channel.guild.threads.values() if thread.parent is channel and thread.archived]
    threads.sort(key=lambda thread: thread.archived_at, reverse=True)
    return {"threads": [thread.json() for thread in threads], "members": [], "has_more": False}


def member(call: Call) -> Json:
    found = find_guild(call)
    named = call.web.match_info["user_id"]
    number = call.discord.bot.id if named == "@me" else call.id("user_id")
    if number not in found.members:
        raise refusals.unknown("Member")
    return found.members[number].json()


def channel(call: Call) -> Json:
    return call.channel().json()


def change_channel(call: Call) -> Json:
    found = call.channel()
    if not isinstance(found, Thread):
        raise refusals.missing_permissions()
    if found.owner is not call.discord.bot and not found.may(call.discord.bot, "MANAGE_THREADS"):
        raise refusals.missing_permissions()
    if found.archived and call.body.get("archived", True):
        raise Refusal(400, 50083, "Thread is archived")
    fields = {name: call.body[name] for name in ("archived", "locked") if name in call.body}
    if "name" in call.body:
        fields["name"] = forms.check_name(call.body)
    found.set(**fields)
    return found.json()


async def delete_channel(call: Call) -> Json:
    found = call.channel()
    if found.guild is None:
        return found.json()
    wanted = "MANAGE_THREADS" if isinstance(found, Thread) else "MANAGE_CHANNELS"
    shown = call.channel(wanted).json()
    await found.delete()
    return shown


def thread_from_message(call: Call) -> Json:
    parent = call.channel("CREATE_PUBLIC_THREADS")
    name = forms.check_name(call.body)
    message = call.message(parent)
    if parent.guild is None or isinstance(parent, Thread):
        raise Refusal(400, 50024, "Cannot execute action on this channel type")
    if message.thread is not None:
        raise Refusal(400, 160004, "A thread has already been created for this message")
    _check_room(parent)
    minutes = call.body.get("auto_archive_duration", 1440)
    return Answer(201, parent.open_thread(name, owner=call.discord.bot, message=message, minutes=minutes).json())


def thread(call: Call) -> Json:
    parent = call.channel("CREATE_PUBLIC_THREADS")
    name = forms.check_name(call.body)
    if parent.guild is None or isinstance(parent, Thread):
        raise Refusal(400, 50024, "Cannot execute action on this channel type")
    _check_room(parent)
    minutes = call.body.get("auto_archive_duration", 1440)
    if parent.kind != 15:
        return Answer(201, parent.open_thread(name, owner=call.discord.bot, minutes=minutes).json())
    message: Message = rest_messages.compose(parent, call.body.get("message") or {}, call.files)
    opened = parent.open_thread(name, owner=call.discord.bot, minutes=minutes)
    message.id, message.channel = opened.id, opened
    doings.send(opened, message)
    return Answer(201, opened.json() | {"message": call.show(message)})


def _check_room(parent: Channel) -> None:
    assert parent.guild is not None
    if parent.guild.threads_full:
        raise Refusal(400, 160006, "Maximum number of active threads reached")


def join_thread(call: Call) -> None:
    _set_membership(call, joined=True)


def leave_thread(call: Call) -> None:
    _set_membership(call, joined=False)


def _set_membership(call: Call, *, joined: bool) -> None:
    found = call.channel()
    if not isinstance(found, Thread):
        raise Refusal(400, 50024, "Cannot execute action on this channel type")
    found.joined = joined


def thread_members(call: Call) -> Json:
    found = call.channel()
    assert isinstance(found, Thread)
    joined_at = datetime.now(UTC).isoformat()
    writers = {message.author.id for message in found.messages} | ({call.discord.bot.id} if found.joined else set())
    return [{"id": str(found.id), "user_id": str(user), "join_timestamp": joined_at, "flags": 0} for user in writers]


_GUILD, _CHANNEL = "/guilds/{guild_id}", "/channels/{channel_id}"

ROUTES: Routes = {
    ("GET", "/users/@me"): me,
    ("GET", "/users/{user_id}"): user,
    ("GET", "/applications/@me"): application,
    ("GET", "/oauth2/applications/@me"): application,
    ("GET", "/gateway"): gateway,
    ("GET", "/gateway/bot"): gateway_bot,
    ("POST", "/users/@me/channels"): open_dm,
    ("GET", "/users/@me/guilds"): my_guilds,
    ("GET", _GUILD): guild,
    ("GET", _GUILD + "/channels"): channels,
    ("GET", _GUILD + "/roles"): roles,
    ("GET", _GUILD + "/threads/active"): active_threads,
    ("GET", _GUILD + "/members/{user_id}"): member,
    ("GET", _CHANNEL): channel,
    ("PATCH", _CHANNEL): change_channel,
    ("DELETE", _CHANNEL): delete_channel,
    ("POST", _CHANNEL + "/messages/{message_id}/threads"): thread_from_message,
    ("POST", _CHANNEL + "/threads"): thread,
    ("GET", _CHANNEL + "/threads/archived/public"): archived_threads,
    ("GET", _CHANNEL + "/thread-members"): thread_members,
    ("PUT", _CHANNEL + "/thread-members/@me"): join_thread,
    ("DELETE", _CHANNEL + "/thread-members/@me"): leave_thread,
}
