"""The laws of surfaces hold on Slack: in channels, where messages are edited, and in direct messages, where they stream."""

from collections.abc import AsyncIterator

import pytest

from bot.adapters.slack.surface import SlackSurface
from bot.chat.protocol import Address, FileOffer, Surface
from tests.adapters.slack.showing import answers, below, offer, surface_on, text_of
from tests.contracts.surface_laws import SurfaceLaws
from tests.fakes.slack import Channel, FakeSlack, File

pytestmark = pytest.mark.anyio


class InSlack(SurfaceLaws):
    """What all places have in common."""

    knows_nonces = False

    @pytest.fixture
    async def slack(self) -> AsyncIterator[FakeSlack]:
        async with FakeSlack() as self.slack:
            self.ada = self.slack.workspace.user("Ada")
            yield self.slack

    @pytest.fixture
    async def surface(self, slack: FakeSlack) -> AsyncIterator[SlackSurface]:
        async with surface_on(slack) as surface:
            yield surface

    @property
    def channel(self) -> Channel:
        raise NotImplementedError

    async def see(self, surface: Surface, address: Address) -> list[str]:
        return [text_of(message) for message in answers(self.channel) if not message.files]

    async def see_files(self, surface: Surface, address: Address) -> list[str]:
        return [file.data.decode() for message in answers(self.channel) for file in message.files]

    async def send_file(self, surface: Surface, address: Address, data: bytes) -> tuple[str, FileOffer]:
        message = await self.ada.say(self.channel, "look", files=[File("notes.txt", data)])
        return message.ts, offer(message)

    def lost_file(self, surface: Surface) -> FileOffer:
        url = f"{self.slack.files_url}/files-pri/T1-F404/notes.txt"
        return FileOffer(name="notes.txt", media_type="text/plain", size=9, url=url)


class TestInAThreadOfAChannel(InSlack):
    @pytest.fixture
    async def address(self, slack: FakeSlack) -> Address:
        self.general = slack.workspace.channel("general", self.ada)
        return below(await self.ada.say(self.general, "hello"))

    @property
    def channel(self) -> Channel:
        return self.general


class TestBesideTheQuestion(TestInAThreadOfAChannel):
    @pytest.fixture
    async def address(self, slack: FakeSlack) -> Address:
        self.general = slack.workspace.channel("general", self.ada)
        return below(await self.ada.say(self.general, "hello"), thread=False)


class TestInAThreadOfADirectMessage(InSlack):
    @pytest.fixture
    async def address(self, slack: FakeSlack) -> Address:
        return below(await self.ada.say(self.ada.dm, "hello"))

    @property
    def channel(self) -> Channel:
        return self.ada.dm


class TestInADirectMessage(TestInAThreadOfADirectMessage):
    @pytest.fixture
    async def address(self, slack: FakeSlack) -> Address:
        return below(await self.ada.say(self.ada.dm, "hello"), thread=False)


class TestWhereMarkdownIsRefused(TestInAThreadOfAChannel):
    tricky = 'é 👨‍👩‍👧‍👦 𝔘 `code` <b> & "quotes" \\ | line one\nline two'

    @pytest.fixture
    async def surface(self, slack: FakeSlack) -> AsyncIterator[SlackSurface]:
        slack.fail("chat.*", error="invalid_blocks", times=999, when=lambda call: "markdown" in str(call.body.get("blocks")))
        async with surface_on(slack) as surface:
            yield surface
