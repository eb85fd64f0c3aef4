"""What the app asks a workspace for: the events that it hears and the scopes that its calls need.

`docs/slack-manifest.yaml` says the same in Slack's words; `tests/adapters/slack/test_manifest.py` keeps both true.
"""

from collections.abc import Mapping

_HISTORY = ("channels:history", "groups:history", "im:history", "mpim:history")
"""One for each kind of place: public channels, private ones, direct messages and those of several people."""

METHODS: Mapping[str, tuple[str, ...]] = {
    "agents.sessions.setStatus": ("chat:write",),
    "apps.connections.open": (),  # takes the app-level token, with its scope connections:write
    "assistant.threads.setStatus": ("chat:write",),
    "assistant.threads.setSuggestedPrompts": ("assistant:write",),
    "auth.test": (),
    "chat.appendStream": ("chat:write",),
    "chat.delete": ("chat:write",),
    "chat.postEphemeral": ("chat:write",),
    "chat.postMessage": ("chat:write",),
    "chat.startStream": ("chat:write",),
    "chat.stopStream": ("chat:write",),
    "chat.update": ("chat:write",),
    "conversations.history": _HISTORY,
    "conversations.open": ("im:write",),
    "conversations.replies": _HISTORY,
    "files.completeUploadExternal": ("files:write",),
    "files.getUploadURLExternal": ("files:write",),
    "files.info": ("files:read",),
    "usergroups.list": ("usergroups:read",),
    "users.info": ("users:read",),
    "views.publish": (),
}
"""The methods of the Web API that are called, with the scopes that each needs."""

EVENTS: Mapping[str, tuple[str, ...]] = {
    "agent_session_stopped": (),
    "app_context_changed": (),
    "app_home_opened": (),
    "app_mention": ("app_mentions:read",),
    "app_uninstalled": (),
    "channel_archive": ("channels:read",),
    "channel_deleted": ("channels:read",),
    "channel_left": ("channels:read",),
    "group_archive": ("groups:read",),
    "group_deleted": ("groups:read",),
    "group_left": ("groups:read",),
    "member_left_channel": ("channels:read", "groups:read"),
    "message.channels": ("channels:history",),
    "message.groups": ("groups:history",),
    "message.im": ("im:history",),
    "message.mpim": ("mpim:history",),
    "tokens_revoked": (),
}
"""The events that are subscribed to, with the scopes without which Slack does not send them."""

SCOPES = frozenset(
    {
        "commands",  # slash commands and shortcuts
        "files:read",  # the files that people send are fetched by their url_private
        *(scope for needed in (*METHODS.values(), *EVENTS.values()) for scope in needed),
    }
)
"""All scopes of the bot token."""
