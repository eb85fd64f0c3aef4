"""Files go both ways, and the host gives them only to who has the token."""

from typing import Any

import aiohttp
import pytest

from tests.fakes.slack import FakeSlack, File
from tests.fakes_slack.bots import bot, client_of

pytestmark = pytest.mark.anyio


async def fetch(url: str, token: str | None) -> tuple[int, str, bytes]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers, allow_redirects=False) as response:
        return response.status, response.content_type, await response.read()


async def test_a_bot_uploads_in_three_steps() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        ada = slack.workspace.user("Ada")
        root = await ada.say(ada.dm, "hello")
        await client.files_upload_v2(
            filename="answer.md",
            content="# All",
            title="Answer",
            channel=ada.dm.id,
            thread_ts=root.ts,
            initial_comment="long",
        )
        message = ada.dm.messages[-1]
        (file,) = message.files
        assert (message.text, message.thread_ts) == ("long", root.ts)
        assert (file.name, file.title, file.data) == ("answer.md", "Answer", b"# All")
        assert (await client.files_info(file=file.id))["file"]["size"] == 5


async def test_a_file_of_a_person_needs_the_token() -> None:
    async with FakeSlack() as slack, bot(slack) as (_, heard):
        ada = slack.workspace.user("Ada")
        await ada.say(ada.dm, "look", files=[File("cat.png", b"meow")])
        await slack.until(lambda: heard)
        assert heard[0]["subtype"] == "file_share"
        (file,) = heard[0]["files"]
        assert (file["name"], file["mimetype"], file["size"]) == ("cat.png", "image/png", 4)
        assert await fetch(file["url_private"], slack.bot_token) == (200, "image/png", b"meow")
        assert await fetch(file["url_private_download"], slack.bot_token) == (200, "image/png", b"meow")
        for token in (None, "xoxb-another"):
            status, content_type, _ = await fetch(file["url_private"], token)
            assert (status, content_type) == (200, "text/html")
        slack.workspace.scopes.discard("files:read")
        assert (await fetch(file["url_private"], slack.bot_token))[1] == "text/html"
        assert [token for _, token in slack.downloads][2:4] == ["", "xoxb-another"]


@pytest.mark.parametrize(("serve", "status"), [("login", 200), ("gone", 404), ("redirect", 302)])
async def test_the_host_misbehaves_as_told(serve: str, status: int) -> None:
    async with FakeSlack() as slack:
        ada = slack.workspace.user("Ada")
        message = await ada.say(ada.dm, files=[File("a.txt", b"text", serve=serve)])
        assert (await fetch(message.files[0].url, slack.bot_token))[0] == status


async def test_a_file_that_is_cut_off_is_no_file() -> None:
    async with FakeSlack() as slack:
        ada = slack.workspace.user("Ada")
        message = await ada.say(ada.dm, files=[File("a.txt", b"text", serve="cut")])
        with pytest.raises(aiohttp.ClientError):
            await fetch(message.files[0].url, slack.bot_token)


async def test_an_upload_of_another_length_is_refused() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        answer: Any = await client.files_getUploadURLExternal(filename="a.txt", length=3)
        async with aiohttp.ClientSession() as session, session.post(answer["upload_url"], data=b"four") as response:
            assert response.status == 400
