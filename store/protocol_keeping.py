"""The laws of keeping: what is listed for operators, handed out to people, and erased so that it stays gone."""

from datetime import datetime
from typing import Protocol

from store.keeping import ConversationFilter, ConversationRecord, Forgotten, Opinions
from store.values import Conversation, ConversationSummary, Message, MessageName


class Keeping(Protocol):
    """What a store does with conversations as a whole. All laws of `store.protocol.Store` hold here too.

    Where a workspace is named, a conversation of another one is not there.
    """

    async def conversations(
        self, platform: str, workspace: str, which: ConversationFilter, *, limit: int, before: int | None = None
    ) -> tuple[ConversationSummary, ...]:
        """List conversations of a workspace, the newest first by their ids, those with an id below `before` if it is given.

        `which.user`: whose it is by its key, or who spoke in it.

        Raises:
            ValueError: `limit` is below 1 or above `SUMMARIES`.
        """

    async def record(self, platform: str, workspace: str, conversation_id: int) -> ConversationRecord | None:
        """Return what operators may see of a conversation; None when it is not there."""

    async def expire_now(self, platform: str, workspace: str, conversation_id: int, *, at: datetime) -> bool:
        """End a conversation and mark it for purging, as if its time were up: an open turn of it is cancelled, one that is
        carried out is told to stop (`Renewal.stop`). False when it is not there or has expired already.
        """

    async def restore(self, platform: str, workspace: str, conversation_id: int, *, at: datetime) -> bool:
        """Take back that a conversation expired: it is kept for its time again, from `at` on. False when it is not there or
        has not expired. It is current again if nothing was begun in its place since, and had ended only by expiring.
        """

    async def extend(self, conversation_id: int, *, at: datetime) -> None:
        """Let a conversation's time begin anew at `at`, as if something had been said in it.

        Raises:
            ConversationNotFound: there is none, or it has expired.
        """

    async def put_persona(self, conversation_id: int, persona: str) -> None:
        """Keep what people chose for a conversation as the model's persona; "" takes it back.

        Raises:
            ConversationNotFound.
            UnstorableText: and nothing is stored.
        """

    async def last_said(self, conversation_id: int, author_id: str) -> tuple[MessageName, ...]:
        """Name the messages of an author that the conversation's last turn answers, or that wait; () when there are none.

        A turn that has lost all its messages is none.
        """

    async def conversations_with(
        self, platform: str, workspace: str, author_id: str, *, limit: int, after: int = 0
    ) -> tuple[Conversation, ...]:
        """List all conversations of a workspace that are a person's by their key or in which the person spoke, expired ones
        too, in the order of their ids, those with an id above `after`.

        Raises:
            ValueError: `limit` is below 1 or above `EXPORT_PAGE`, or nobody is named.
        """

    async def said_in(self, conversation_id: int, author_id: str, *, limit: int, after: int = 0) -> tuple[Message, ...]:
        """Hand out a person's share of a conversation, with all files, oldest ids first, those with an id above `after`.

        That is all of it where nobody else spoke; else what the person said, and the answers to that.

        Raises:
            ValueError: `limit` is below 1 or above `EXPORT_PAGE`.
        """

    async def opinions(self, platform: str, workspace: str, author_id: str, *, after: int = 0) -> Opinions:
        """Hand out what a person thinks of answers in a workspace, in the order of their turns, those with an id above
        `after`; also of conversations in which the person said nothing, and of expired ones.

        Raises:
            ValueError: nobody is named.
        """

    async def forget_person(self, platform: str, workspace: str, author_id: str, *, at: datetime) -> Forgotten:
        """Erase all that a person said in a workspace until `at`, and the answers that came of that alone.

        Conversations in which nobody else spoke go whole, with their turns, also one that is carried out (its holder loses
        the lease); in others the person's messages are retracted (`Store.retract`). What the person thinks of answers and
        their accounts of the days before `at`'s go too. It stays gone: a redelivery brings nothing back, and when an older
        copy of the store is put in this one's place, it is erased from that as well when the copy is opened. What is kept
        for this holds no text and no id in clear.

        Raises:
            ValueError: nobody is named.
        """

    async def scrub(self) -> None:
        """Make sure that what was erased is gone from the bytes of the store's files, as far as the engine lets us.

        On SQLite: from the file and its journal. On PostgreSQL: from the files of small tables, which are written anew; a
        large table is vacuumed, so what was erased can be found by no query, and its bytes are overwritten as the server
        uses the room. The server's journal (WAL), its replicas and its archives are the server's own.
        The store does so by itself, and is done within 60 s of an erasure unless somebody reads an older state.

        Raises:
            StoreUnavailable: somebody reads an older state just now, or uses a table all the time; it is tried again.
            StoreDenied: the tables are another user's, who alone can do it.
        """
