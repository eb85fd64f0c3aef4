"""Files that come with a command's reply: they reach the caller's direct messages, and nobody else."""

import zipfile
from io import BytesIO

import pytest

from bot.chat import words
from tests.adapters.slack.interactive import InteractiveBot, interactive, whispers
from tests.fakes.slack import Channel, User

pytestmark = pytest.mark.anyio


def files_in(channel: Channel) -> list[tuple[str, bytes]]:
    return [(file.name, file.data) for message in channel.messages for file in message.files]


async def asked(bot: InteractiveBot) -> tuple[User, Channel]:
    ada, bob = bot.slack.workspace.user("Ada"), bot.slack.workspace.user("Bob")
    general = bot.slack.workspace.channel("general", ada, bob)
    await ada.say(general, f"{bot.slack.workspace.bot.mention} my canary is yellow")
    await bot.answered(general)
    return ada, general


@pytest.mark.parametrize("how", ["slash", "typed"])
async def test_an_export_comes_by_direct_message_and_the_reply_says_so(how: str) -> None:
    async with interactive("So it is.") as bot:
        ada, general = await asked(bot)
        if how == "slash":
            await ada.slash("/chat", "export", general)
        else:
            await ada.say(general, f"{bot.slack.workspace.bot.mention} !export")
        await bot.until(lambda: ada.ephemerals)
        (said,) = whispers(ada)
        assert said.endswith(words.FILES_SENT)
        ((name, data),) = files_in(ada.dm)
        assert name.startswith("parley-export-1-of-")
        assert name.endswith(".zip")
        with zipfile.ZipFile(BytesIO(data)) as archive:
            assert any(b"my canary is yellow" in archive.read(entry) for entry in archive.namelist())
        assert files_in(general) == []
        assert ada.ephemerals[0].channel is general


@pytest.mark.parametrize("failing", ["conversations.open", "files.getUploadURLExternal", "files.completeUploadExternal"])
async def test_a_file_that_can_t_be_sent_is_said_in_a_sentence(failing: str) -> None:
    async with interactive("So it is.") as bot:
        ada, general = await asked(bot)
        bot.slack.fail(failing, status=500)
        await ada.slash("/chat", "export", general)
        await bot.until(lambda: ada.ephemerals)
        (said,) = whispers(ada)
        assert said.endswith(words.FILES_NOT_SENT)
        assert files_in(general) == files_in(ada.dm) == []
