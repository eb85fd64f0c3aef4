"""Who one is, who others are, how an app is installed and how it opens its sockets."""

import base64
from typing import TYPE_CHECKING, Any

from tests.fakes.slack import refusals
from tests.fakes.slack.api import APP_TOKEN, NO_TOKEN, Call, Method, Methods
from tests.fakes.slack.refusals import Refusal

if TYPE_CHECKING:
    from tests.fakes.slack.people import User
    from tests.fakes.slack.teams import Team

Json = Any


def auth_test(call: Call) -> Json:
    team, bot = call.team, call.team.bot
    answer = {
        "url": f"https://{team.domain}.slack.com/",
        "team": team.name,
        "user": bot.name,
        "team_id": team.id,
        "user_id": bot.id,
        "bot_id": bot.bot_id,
        "is_enterprise_install": team.org_wide,
    }
    return answer | ({"enterprise_id": team.enterprise} if team.enterprise else {})


def auth_revoke(call: Call) -> Json:
    if call.flag("test"):
        return {"revoked": False}
    call.slack.revoked.add(call.request.token)
    return {"revoked": True}


def users_info(call: Call) -> Json:
    user = call.slack.users.get(call.required("user"))
    if user is None:
        raise Refusal("user_not_found")
    return {"user": user.json() | ({"locale": user.locale} if call.flag("include_locale") else {})}


def usergroups_list(call: Call) -> Json:
    """List the user groups of a workspace, which a token of a whole enterprise has to name."""
    team = call.team
    if team.org_wide:
        if not call.text("team_id"):
            raise refusals.invalid_arguments("missing required field: team_id")
        team = next((known for known in call.slack.teams if known.id == call.text("team_id")), team)
    if not team.has_groups:
        raise Refusal("plan_upgrade_required")
    return {"usergroups": [_group(team, number, members, call) for number, members in team.groups.items()]}


def _group(team: "Team", number: str, members: "list[User]", call: Call) -> Json:
    value: Json = {"id": number, "team_id": team.id, "is_usergroup": True, "handle": number.lower(), "date_delete": 0}
    if call.flag("include_count") or call.flag("include_users"):
        value["user_count"] = str(len(members))
    if call.flag("include_users"):
        value["users"] = [member.id for member in members][: team.listed_members]
    return value


def bots_info(call: Call) -> Json:
    for user in call.slack.users.values():
        if user.bot_id and user.bot_id == call.text("bot"):
            return {"bot": user.bot_profile() | {"user_id": user.id}}
    raise Refusal("bot_not_found")


def team_info(call: Call) -> Json:
    return {"team": call.team.json()}


def connections_open(call: Call) -> Json:
    return {"url": call.slack.socket_mode.ticket()}


def oauth_access(call: Call) -> Json:
    """Exchange a code, which works once, for the workspace's token."""
    slack = call.slack
    client_id, client_secret = call.text("client_id"), call.text("client_secret")
    basic = call.request.headers.get("Authorization", "")
    if basic.startswith("Basic "):
        client_id, _, client_secret = base64.b64decode(basic.removeprefix("Basic ")).decode().partition(":")
    if client_id != slack.client_id:
        raise Refusal("invalid_client_id")
    if client_secret != slack.client_secret:
        raise Refusal("bad_client_secret")
    code = call.text("code")
    if code in slack.used_codes:
        raise Refusal("code_already_used")
    if code not in slack.codes:
        raise Refusal("invalid_code")
    team, installer = slack.codes.pop(code)
    slack.used_codes.add(code)
    if team.uninstalled:
        team.reinstall()
    return {
        "access_token": team.bot_token,
        "token_type": "bot",
        "scope": ",".join(sorted(team.scopes)),
        "bot_user_id": team.bot.id,
        "app_id": slack.app_id,
        "team": None if team.org_wide else {"name": team.name, "id": team.id},
        "enterprise": {"name": "Enterprise", "id": team.enterprise} if team.enterprise else None,
        "is_enterprise_install": team.org_wide,
        "authed_user": {"id": installer.id},
    }


METHODS: Methods = {
    "auth.test": Method(auth_test),
    "auth.revoke": Method(auth_revoke),
    "users.info": Method(users_info, "users:read"),
    "usergroups.list": Method(usergroups_list, "usergroups:read"),
    "bots.info": Method(bots_info, "users:read"),
    "team.info": Method(team_info, "team:read"),
    "apps.connections.open": Method(connections_open, APP_TOKEN),
    "oauth.v2.access": Method(oauth_access, NO_TOKEN),
}
