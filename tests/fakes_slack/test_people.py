"""What people press, type as commands, open and install reaches the real AsyncApp, and what it shows them is seen."""

from datetime import timedelta
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError

from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack, NotOffered
from tests.fakes_slack.bots import Run, bot, by_http, by_socket, client_of
from tests.fakes_slack.test_messages import refused
from tests.fakes_slack.test_streams import BUTTONS

pytestmark = pytest.mark.anyio

both_transports = pytest.mark.parametrize("run", [by_socket, by_http])


def buttons(*names: str) -> list[Any]:
    elements = [
        {"type": "button", "action_id": name, "value": name.upper(), "text": {"type": "plain_text", "text": name}}
        for name in names
    ]
    return [{"type": "actions", "elements": elements}]


FORM = {
    "type": "modal",
    "callback_id": "form",
    "title": {"type": "plain_text", "text": "A form"},
    "submit": {"type": "plain_text", "text": "Send"},
    "blocks": [
        {
            "type": "input",
            "block_id": "why",
            "label": {"type": "plain_text", "text": "Why?"},
            "element": {"type": "plain_text_input", "action_id": "reason"},
        }
    ],
}


@both_transports
async def test_a_command_is_answered_to_one_person(run: Run) -> None:
    async with FakeSlack() as slack, bot(slack, run) as (app, _):
        ada, bob = slack.workspace.user("Ada"), slack.workspace.user("Bob")
        general = slack.workspace.channel("general", ada, bob)

        @app.command("/chat")
        async def command(ack: Any, command: Any, respond: Any) -> None:
            await ack(f"you said {command['text']}")
            await respond("and more", response_type="in_channel")

        interaction = await ada.slash("/chat", "history 5", general)
        assert interaction.acked
        await slack.until(lambda: general.texts)
        assert [shown.text for shown in ada.ephemerals] == ["you said history 5"]
        assert bob.ephemerals == []
        assert general.texts == ["and more"]
        assert [body["text"] for body in interaction.responses] == ["and more"]


async def test_a_command_that_is_acknowledged_too_late_has_no_answer() -> None:
    async with FakeSlack(ack_limit=timedelta(milliseconds=50)) as slack, bot(slack) as (app, _):
        ada = slack.workspace.user("Ada")

        @app.command("/chat")
        async def command() -> None:
            return None

        interaction = await ada.slash("/chat", "", ada.dm)
        assert (interaction.acked, interaction.attempt.failure) == (False, "timeout")


@both_transports
async def test_buttons_are_pressed_and_messages_change(run: Run) -> None:
    async with FakeSlack() as slack, bot(slack, run) as (app, _):
        ada = slack.workspace.user("Ada")
        seen: list[Any] = []

        @app.action("again")
        async def again(ack: Any, body: Any, action: Any, respond: Any) -> None:
            await ack()
            seen.append((body["message"]["ts"], body["container"]["thread_ts"], action["value"], action["block_id"]))
            await respond("pressed", replace_original=True)

        root = await ada.say(ada.dm, "hello")
        where = {"channel": ada.dm.id, "thread_ts": root.ts}
        await app.client.chat_postMessage(**where, text="x", blocks=buttons("again", "stop"))
        message = ada.dm.messages[-1]
        assert message.buttons == ["again", "stop"]
        assert (await ada.click(message, "again")).acked
        await slack.until(lambda: message.shown == "pressed")
        assert seen == [(message.ts, root.ts, "AGAIN", "b0")]
        with pytest.raises(NotOffered):
            await ada.click(message, "again")


async def test_feedback_and_shortcuts_come_with_the_message() -> None:
    async with FakeSlack() as slack, bot(slack) as (app, _):
        ada = slack.workspace.user("Ada")
        seen: list[Any] = []

        @app.action("feedback")
        async def feedback(ack: Any, action: Any) -> None:
            await ack()
            seen.append((action["type"], action["value"]))

        @app.shortcut("summarise")
        async def summarise(ack: Any, shortcut: Any, client: Any) -> None:
            await ack()
            seen.append(shortcut["message"]["text"])
            await client.chat_postEphemeral(channel=shortcut["channel"]["id"], user=shortcut["user"]["id"], text="short")

        await app.client.chat_postMessage(channel=ada.id, text="x", blocks=[BUTTONS])
        await ada.feedback(ada.dm.messages[-1], good=False)
        await ada.shortcut(await ada.say(ada.dm, "a long talk"), "summarise")
        await slack.until(lambda: ada.ephemerals)
        assert seen == [("feedback_buttons", "bad"), "a long talk"]
        assert ada.ephemerals[0].shown == "short"


async def test_a_home_is_published_and_used() -> None:
    async with FakeSlack() as slack, bot(slack) as (app, heard):
        ada = slack.workspace.user("Ada")

        @app.action("forget")
        async def forget(ack: Any, body: Any, client: Any) -> None:
            await ack()
            await client.views_open(trigger_id=body["trigger_id"], view=FORM)

        @app.view("form")
        async def form(ack: Any, view: Any) -> None:
            if not view["state"]["values"]["why"]["reason"]["value"]:
                await ack(response_action="errors", errors={"why": "say why"})
            else:
                await ack()

        await ada.open_home()
        await slack.until(lambda: heard)
        assert (heard[0]["tab"], heard[0]["channel"], "view" in heard[0]) == ("home", ada.dm.id, False)
        await app.client.views_publish(user_id=ada.id, view={"type": "home", "blocks": buttons("forget")})
        assert ada.home.buttons == ["forget"]
        pressed = await ada.click(ada.home, "forget")
        await slack.until(lambda: pressed.views)
        (modal,) = pressed.views
        assert (await ada.submit(modal)).acked
        assert (modal.errors, modal.open) == ({"why": "say why"}, True)
        await ada.submit(modal, {"reason": "because"})
        assert not modal.open
        assert await refused(app.client.views_open(trigger_id=pressed.trigger_id, view=FORM)) == "exchanged_trigger_id"


async def test_a_trigger_is_good_for_three_seconds() -> None:
    async with FakeSlack(trigger_life=timedelta(0)) as slack, bot(slack) as (app, _):
        ada = slack.workspace.user("Ada")

        @app.shortcut("open")
        async def shortcut(ack: Any) -> None:
            await ack()

        interaction = await ada.shortcut(None, "open")
        assert await refused(app.client.views_open(trigger_id=interaction.trigger_id, view=FORM)) == "expired_trigger_id"


async def test_the_agent_view_and_the_old_assistant_tell_what_is_looked_at() -> None:
    async with FakeSlack() as slack, bot(slack) as (_, heard):
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        await ada.open_agent(general)
        await ada.look_at(None)
        thread = await ada.open_assistant(general)
        await slack.until(lambda: len(heard) == 3)
        opened, changed, started = heard
        assert (opened["type"], opened["tab"], opened["context"]["entities"][0]["value"]) == (
            "app_home_opened",
            "messages",
            general.id,
        )
        assert (changed["type"], changed["context"]) == ("app_context_changed", {})
        assert started["assistant_thread"]["thread_ts"] == thread
        assert started["assistant_thread"]["context"]["channel_id"] == general.id


async def test_people_and_places_can_be_looked_up() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        team = slack.workspace
        ada, eve = team.user("Ada", display_name="ada"), team.user("Eve", external=True)
        general = team.channel("general", ada, eve, connected=True)
        user = (await client.users_info(user=ada.id))["user"]
        assert (user["profile"]["display_name"], user["team_id"]) == ("ada", team.id)
        # Who shares a channel with the app is no stranger, wherever they are from.
        abroad = (await client.users_info(user=eve.id))["user"]
        assert (abroad["team_id"], "is_stranger" in abroad) == (eve.team_id, False)
        assert (await client.users_info(user=team.user("Mallory", external=True).id))["user"]["is_stranger"]
        assert (await client.bots_info(bot=team.bot.bot_id))["bot"]["user_id"] == team.bot.id
        assert (await client.conversations_info(channel=general.id))["channel"]["is_ext_shared"]
        assert (await client.conversations_members(channel=general.id))["members"] == [team.bot.id, ada.id, eve.id]
        assert [channel["name"] for channel in (await client.conversations_list())["channels"]] == ["general"]
        assert (await client.conversations_open(users=ada.id))["channel"]["id"] == ada.dm.id
        assert (await client.team_info())["team"]["name"] == "Acme"


async def test_user_groups_are_listed_with_their_members_where_the_plan_has_them() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        team = slack.workspace
        ada, bob = team.user("Ada"), team.user("Bob")
        number = team.group(ada, bob).removeprefix("<!subteam^").removesuffix(">")
        (group,) = (await client.usergroups_list(include_users=True))["usergroups"]
        assert (group["id"], group["users"], group["user_count"]) == (number, [ada.id, bob.id], "2")
        assert "users" not in (await client.usergroups_list())["usergroups"][0]
        team.has_groups = False
        with pytest.raises(SlackApiError, match="plan_upgrade_required"):
            await client.usergroups_list()
        team.scopes -= {"usergroups:read"}
        with pytest.raises(SlackApiError, match="missing_scope"):
            await client.usergroups_list()


async def test_owners_guests_and_people_of_an_enterprise_are_told_as_such() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        olga, gil = slack.workspace.user("Olga", owner=True), slack.workspace.user("Gil", guest=True)
        assert (await client.users_info(user=olga.id))["user"]["is_owner"]
        assert (await client.users_info(user=gil.id))["user"]["is_restricted"]
        north = slack.team("North", enterprise="E1", org_wide=True)
        ada = north.user("Ada")
        user = (await client.users_info(user=ada.id))["user"]
        assert (user["enterprise_user"]["enterprise_id"], user["enterprise_user"]["teams"]) == ("E1", [north.id])


async def test_an_event_of_slack_connect_tells_where_somebody_is_from() -> None:
    async with FakeSlack() as slack, bot(slack) as (_, heard):
        eve = slack.workspace.user("Eve", external=True)
        await eve.say(slack.workspace.channel("shared", eve, connected=True), "hello")
        await slack.until(lambda: heard)
        assert heard[0]["user_team"] == eve.team_id != slack.workspace.id
        assert slack.deliveries[0].payload["is_ext_shared_channel"]
        assert slack.deliveries[0].payload["authorizations"][0]["team_id"] == slack.workspace.id


async def test_an_enterprise_has_one_token_for_its_workspaces() -> None:
    async with FakeSlack() as slack:
        north = slack.team("North", enterprise="E1", org_wide=True)
        south = slack.team("South", enterprise="E1", org_wide=True)
        assert north.bot_token == south.bot_token
        async with client_of(slack, north.bot_token) as client:
            assert (await client.auth_test(team_id=south.id))["team_id"] == south.id
            assert (await client.team_info(team_id=south.id))["team"]["name"] == "South"
            await client.chat_postMessage(channel=south.channel("x").id, text="found by the channel")


async def test_archiving_and_leaving_are_told() -> None:
    async with FakeSlack(retry_after=()) as slack, bot(slack) as (_, heard):
        general = slack.workspace.channel("general")
        general.archive()
        await slack.until(lambda: heard)
        assert (heard[0]["type"], heard[0]["channel"]) == ("channel_archive", general.id)
        general.leave(slack.workspace.bot)
        await slack.until(lambda: len(slack.deliveries) == 2)
        assert slack.deliveries[1].name == "channel_left"


async def test_a_response_url_works_five_times_and_can_replace_what_it_said() -> None:
    async with FakeSlack() as slack, bot(slack) as (app, _):
        ada = slack.workspace.user("Ada")

        @app.command("/chat")
        async def command(ack: Any, respond: Any) -> None:
            await ack()
            await respond("working")
            await respond("done", replace_original=True)
            for _ in range(3):
                assert (await respond("more")).status_code == 200
            assert (await respond("too much")).body == '{"ok": false, "error": "used_url"}'

        interaction = await ada.slash("/chat", "", ada.dm)
        await slack.until(lambda: len(ada.ephemerals) == 4 and len(interaction.responses) == 5)
        assert [shown.shown for shown in ada.ephemerals] == ["done", "more", "more", "more"]
        assert ada.ephemerals[0].history == ["working"]


async def test_answers_tell_the_time_of_slack() -> None:
    clock = FakeClock()
    async with FakeSlack(clock=clock) as slack, client_of(slack) as client:
        assert (await client.auth_test()).headers["Date"] == "Thu, 01 Jan 2026 00:00:00 GMT"


async def test_the_bot_joins_reacts_and_shows_something_to_one_person() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        ada, bob = slack.workspace.user("Ada"), slack.workspace.user("Bob")
        general = slack.workspace.channel("general", ada, with_bot=False)
        said = await ada.say(general, "hello")
        await client.conversations_join(channel=general.id)
        await client.reactions_add(channel=general.id, timestamp=said.ts, name="eyes")
        assert said.reactions == {"eyes": [slack.workspace.bot.id]}
        again = client.reactions_add(channel=general.id, timestamp=said.ts, name="eyes")
        assert await refused(again) == "already_reacted"
        await client.chat_postEphemeral(channel=general.id, user=ada.id, text="psst")
        assert [shown.shown for shown in ada.ephemerals] == ["psst"]
        outside = client.chat_postEphemeral(channel=general.id, user=bob.id, text="psst")
        assert await refused(outside) == "user_not_in_channel"
        assert general.texts == ["hello"]
