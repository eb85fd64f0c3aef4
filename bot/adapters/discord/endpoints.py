"""Where Discord is: its own addresses, or those of a server that stands in for it."""

import discord.gateway
import discord.http
from yarl import URL

API_BASE_URL = "https://discord.com/api/v10"
GATEWAY_URL = "wss://gateway.discord.gg/"


def point_at(api_base_url: str = API_BASE_URL, gateway_url: str = GATEWAY_URL) -> None:
    """Let every client of this process that connects from now on talk to these addresses."""
    # discord.py has no setting for it: these class attributes are what its requests and its first connection are made from.
    discord.http.Route.BASE = api_base_url.rstrip("/")
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = URL(gateway_url)
