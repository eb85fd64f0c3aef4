"""The doctor's look at Discord: token, intent, servers, and what the bot may do in each channel. Changes nothing."""

import asyncio
from collections import defaultdict
from datetime import timedelta

import aiohttp
import discord

from bot.adapters.discord.connection import calm_library_log
from bot.adapters.discord.permissions import invite_url, missing
from bot.findings import Finding, Verdict

SERVERS = 25
"""Servers that are looked at; each costs three requests."""
NAMED = 8
"""Channels that one line names."""
PATIENCE = timedelta(seconds=60)
WHAT = "Discord"
PORTAL = "discord.com/developers/applications"


async def examine_discord(token: str, *, message_content: bool) -> list[Finding]:
    """Find out what is good and what is wrong; `message_content`: the bot is to run with that intent."""
    calm_library_log()
    client = discord.Client(intents=discord.Intents(guilds=True), max_ratelimit_timeout=PATIENCE.total_seconds())
    found: list[Finding] = []
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            await client.login(token)
            application = await client.application_info()
            found += _application(application, message_content=message_content)
            bot_id = client.user.id if client.user else application.id
            servers = [await _server(client, guild.id, bot_id) async for guild in client.fetch_guilds(limit=SERVERS)]
            found += servers
        if not servers:
            text = f"it is in no server yet: invite it with {invite_url(application.id)}"
            found.append(Finding(verdict=Verdict.NOTE, what=WHAT, text=text))
        elif len(servers) == SERVERS:
            found.append(Finding(verdict=Verdict.NOTE, what=WHAT, text=f"only the first {SERVERS} servers were looked at"))
    except discord.LoginFailure:
        text = (
            f"the token is not accepted: reset it on {PORTAL} (your application, Bot) and set DISCORD_TOKEN to the new one"
        )
        found.append(Finding(verdict=Verdict.BAD, what=WHAT, text=text))
    except (discord.DiscordException, aiohttp.ClientError, OSError) as exc:  # a TimeoutError is an OSError
        text = f"it can't be asked right now ({type(exc).__name__}): look at the network and at discordstatus.com"
        found.append(Finding(verdict=Verdict.BAD, what=WHAT, text=text))
    finally:
        await client.close()
    return found


def _application(application: discord.AppInfo, *, message_content: bool) -> list[Finding]:
    found = []
    granted = application.flags.gateway_message_content or application.flags.gateway_message_content_limited
    if not message_content:
        text = (
            f"{application.name}: the token is good; without message content (DISCORD_MESSAGE_CONTENT=off) it answers "
            "mentions, direct messages, replies and commands only"
        )
        found.append(Finding(verdict=Verdict.NOTE, what=WHAT, text=text))
    elif granted:
        text = f"{application.name}: the token is good, the message content intent is on"
        found.append(Finding(verdict=Verdict.GOOD, what=WHAT, text=text))
    else:
        text = (
            f"{application.name}: the message content intent is off: switch it on under {PORTAL}, your application, Bot, "
            "Privileged Gateway Intents, or set DISCORD_MESSAGE_CONTENT=off"
        )
        found.append(Finding(verdict=Verdict.BAD, what=WHAT, text=text))
    if application.interactions_endpoint_url:
        text = f"commands and buttons go to another address: empty 'Interactions Endpoint URL' under {PORTAL}"
        found.append(Finding(verdict=Verdict.BAD, what=WHAT, text=text))
    return found


async def _server(client: discord.Client, guild_id: int, bot_id: int) -> Finding:
    """Look at what the bot may do in the text channels of one server."""
    guild = await client.fetch_guild(guild_id, with_counts=False)
    me = await guild.fetch_member(bot_id)
    lacking: dict[tuple[str, ...], list[str]] = defaultdict(list)
    channels = [channel for channel in await guild.fetch_channels() if isinstance(channel, discord.TextChannel)]
    for channel in channels:
        lacking[missing(channel.permissions_for(me))].append(f"#{channel.name}")
    fine = len(lacking.pop((), []))
    # A channel that it can't see at all is usually meant so.
    hidden = sum(len(names) for labels, names in lacking.items() if "View Channels" in labels)
    lines = [
        f"in {_list(names)} it lacks {', '.join(labels)}"
        for labels, names in lacking.items()
        if "View Channels" not in labels
    ]
    seen = f"{guild.name}: all is granted in {fine} of {len(channels)} channels" + (
        f", {hidden} are hidden" if hidden else ""
    )
    if not lines:
        return Finding(verdict=Verdict.GOOD if fine else Verdict.NOTE, what=WHAT, text=seen)
    remedy = "open Edit Channel > Permissions there, or Server Settings > Roles, and switch it on"
    return Finding(verdict=Verdict.NOTE, what=WHAT, text=f"{seen}; {'; '.join(lines)}: {remedy}")


def _list(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
