"""The laws of `Surface`, one test each. A platform's tests subclass `SurfaceLaws` and tell how to read what people see."""

import asyncio

import pytest

from bot.chat.delivery import MessageGone
from bot.chat.protocol import Address, Control, Controls, DeliveryError, FileOffer, FileUnreadable, Surface, Write

TRICKY = 'é 👨‍👩‍👧‍👦 𝔘 *bold* `code` <b> & "quotes" \\ | line one\nline two'
STOP = Controls(turn_id=7, offered=(Control.STOP,))
AFTERWARDS = Controls(turn_id=7, offered=(Control.RETRY, Control.CONTINUE))


class SurfaceLaws:
    """Subclasses give the fixture `surface` and `see`; the flags say what a platform can't do, its hooks how it looks."""

    pytestmark = pytest.mark.anyio
    edits_in_place = True
    """An edit replaces the text. A terminal can only write on."""
    knows_nonces = True
    """`post` with a known nonce returns the known message (Discord); otherwise only `find` tells (Slack)."""
    has_files = True
    takes_files = True
    """People can send files there."""
    tricky = TRICKY
    """A text with everything that is awkward, as far as the platform shows it unchanged."""

    @pytest.fixture
    def address(self) -> Address:
        return Address(platform="fake", workspace="w", channel="c")

    async def see(self, surface: Surface, address: Address) -> list[str]:
        """Return the texts of the messages that people see, oldest first."""
        raise NotImplementedError

    async def see_files(self, surface: Surface, address: Address) -> list[str]:
        """Return the contents of the files that people see, oldest first."""
        raise NotImplementedError

    async def send_file(self, surface: Surface, address: Address, data: bytes) -> tuple[str, FileOffer]:
        """Send a file as people do; return the id of its message and what the message says of it."""
        raise NotImplementedError

    def lost_file(self, surface: Surface) -> FileOffer:
        """Return a file that the platform does not have."""
        raise NotImplementedError

    async def test_a_post_is_seen_and_has_an_id(self, surface, address):
        assert await surface.post(address, self.tricky, nonce="n1")
        assert await self.see(surface, address) == [self.tricky]

    async def test_posts_are_seen_in_their_order_and_have_different_ids(self, surface, address):
        ids = [await surface.post(address, f"text {number}", nonce=f"n{number}") for number in range(3)]
        assert len(set(ids)) == 3
        assert await self.see(surface, address) == ["text 0", "text 1", "text 2"]

    async def test_posting_again_with_a_nonce_returns_the_first_message(self, surface, address):
        if not self.knows_nonces:
            pytest.skip("this platform knows no nonces")
        first = await surface.post(address, "one", nonce="n1")
        assert await surface.post(address, "one", nonce="n1") == first
        assert await self.see(surface, address) == ["one"]

    async def test_an_edit_replaces_the_text_and_may_be_repeated(self, surface, address):
        if not self.edits_in_place:
            pytest.skip("this platform can't edit")
        first = await surface.post(address, "one", nonce="n1")
        await surface.post(address, "two", nonce="n2")
        for _ in range(2):
            await surface.edit(address, first, self.tricky)
            assert await self.see(surface, address) == [self.tricky, "two"]

    async def test_an_edit_of_a_message_that_is_gone_says_so_and_shows_nothing(self, surface, address):
        if not self.edits_in_place:
            pytest.skip("this platform can't edit")
        first = await surface.post(address, "one", nonce="n1")
        await surface.delete(address, first)
        with pytest.raises(MessageGone):
            await surface.edit(address, first, "two")
        assert await self.see(surface, address) == []

    async def test_find_returns_the_message_of_a_nonce(self, surface, address):
        ids = {nonce: await surface.post(address, "same text", nonce=nonce) for nonce in ("n1", "n2")}
        for nonce, message_id in ids.items():
            assert await surface.find(address, nonce=nonce, text="same text") == message_id

    async def test_find_returns_the_message_after_an_edit(self, surface, address):
        if not self.edits_in_place:
            pytest.skip("this platform can't edit")
        first = await surface.post(address, "one", nonce="n1")
        await surface.edit(address, first, "two")
        assert await surface.find(address, nonce="n1", text="two") == first

    async def test_find_returns_none_for_what_was_not_posted(self, surface, address):
        await surface.post(address, "one", nonce="n1")
        assert await surface.find(address, nonce="n2", text="two") is None

    async def test_find_returns_none_for_what_was_deleted(self, surface, address):
        if not self.edits_in_place:
            pytest.skip("this platform can't take back")
        await surface.delete(address, await surface.post(address, "one", nonce="n1"))
        assert await surface.find(address, nonce="n1", text="one") is None

    async def test_a_delete_removes_one_message_and_may_be_repeated(self, surface, address):
        if not self.edits_in_place:
            pytest.skip("this platform can't take back")
        first = await surface.post(address, "one", nonce="n1")
        await surface.post(address, "two", nonce="n2")
        for _ in range(2):
            await surface.delete(address, first)
            assert await self.see(surface, address) == ["two"]

    async def test_controls_may_be_given_and_change_nothing_of_the_text(self, surface, address):
        first = await surface.post(address, "one", nonce="n1", controls=STOP)
        await surface.post(address, self.tricky, nonce="n2", first=False, controls=AFTERWARDS)
        assert await self.see(surface, address) == ["one", self.tricky]
        if not self.edits_in_place:
            return
        for controls in (AFTERWARDS, AFTERWARDS, Controls()):
            await surface.edit(address, first, "two", controls=controls)
            assert await self.see(surface, address) == ["two", self.tricky]

    async def test_find_returns_a_message_with_controls(self, surface, address):
        first = await surface.post(address, "one", nonce="n1", controls=STOP)
        await surface.post(address, "one", nonce="n2", first=False, controls=STOP)
        assert await surface.find(address, nonce="n1", text="one and more") == first

    async def test_the_longest_text_is_shown_whole(self, surface, address):
        longest = "x" * (surface.limits.part - 1) + "y"
        message_id = await surface.post(address, longest, nonce="n1")
        assert await self.see(surface, address) == [longest]
        if self.edits_in_place:
            await surface.edit(address, message_id, longest.upper())
            assert await self.see(surface, address) == [longest.upper()]

    async def test_a_text_over_the_limit_is_refused_or_shown_whole_but_never_cut(self, surface, address):
        too_long = "x" * surface.limits.part + "y"
        try:
            await surface.post(address, too_long, nonce="n1")
        except (DeliveryError, ValueError, AssertionError):
            assert await self.see(surface, address) == []
        else:
            assert await self.see(surface, address) == [too_long]

    async def test_a_file_is_seen_whole_has_an_id_and_can_be_found(self, surface, address):
        if not self.has_files:
            pytest.skip("this platform has no files")
        text = self.tricky + "\n" + "long " * surface.limits.part
        message_id = await surface.post_file(address, "answer.md", text, nonce="n1", controls=AFTERWARDS)
        assert message_id
        assert await self.see_files(surface, address) == [text]
        assert await surface.find(address, nonce="n1", text=text) == message_id

    async def test_a_file_that_is_not_there_is_unreadable(self, surface, address):
        if not self.takes_files:
            pytest.skip("nobody can send files here")
        with pytest.raises(FileUnreadable) as unreadable:
            await surface.read_file(address, "1", self.lost_file(surface), limit=100)
        assert str(unreadable.value)

    async def test_a_file_is_read_up_to_the_limit(self, surface, address):
        if not self.takes_files:
            pytest.skip("nobody can send files here")
        message_id, file = await self.send_file(surface, address, b"some bytes")
        assert await surface.read_file(address, message_id, file, limit=100) == b"some bytes"
        assert await surface.read_file(address, message_id, file, limit=4) == b"some"

    async def test_a_sign_of_work_is_no_message(self, surface, address):
        await surface.working(address)
        assert await self.see(surface, address) == []
        await surface.post(address, "one", nonce="n1")
        assert await self.see(surface, address) == ["one"]

    async def test_posts_of_several_replies_at_once_are_all_seen(self, surface, address):
        await asyncio.gather(*(surface.post(address, f"text {number}", nonce=f"n{number}") for number in range(5)))
        assert sorted(await self.see(surface, address)) == [f"text {number}" for number in range(5)]

    @pytest.mark.parametrize("write", list(Write))
    async def test_a_budget_has_a_name_and_keeps_it(self, surface, address, write):
        assert surface.budget(address, write).name
        assert surface.budget(address, write) == surface.budget(Address.decode(address.encode()), write)
