"""The store's laws: what each call of a store does, promises and raises.

What operators decide and what is spent stands in `store.protocol_governing`; what is listed, handed out and forgotten in
`store.protocol_keeping`. Its words are in `store.values`, `store.governing` and `store.keeping`, its failures in
`store.errors`. Every implementation passes `tests/contracts/store_laws.py`; each law of a docstring has its test there.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Protocol

from store.governing import Charge
from store.keeping import Expired, Spot
from store.protocol_governing import Governing
from store.protocol_keeping import Keeping
from store.protocol_sharing import Sharing
from store.values import (
    Absorbed,
    Accepted,
    Answer,
    Claim,
    Conversation,
    ConversationKey,
    ConversationSummary,
    Feedback,
    Hold,
    Installation,
    Located,
    Message,
    MessageName,
    NewMessage,
    Renewal,
    Revised,
    Role,
    Stopped,
    StoreStatus,
    TurnFacts,
    TurnState,
    Watermark,
)


class Store(Governing, Keeping, Sharing, Protocol):
    """Keeps conversations in order. Every call does all or nothing, also when it is cancelled.

    What a call returned from is committed: it is there after a crash, and after `aclose` and opening again. Any valid
    Unicode comes back unchanged; NUL and lone surrogates raise `UnstorableText` on every engine. Times are aware and UTC;
    a naive one raises `ValueError`. Leases are measured by the store's own clock.

    Raises (all methods): StoreClosed, StoreUnavailable.
    """

    async def get_or_create(self, key: ConversationKey, *, at: datetime) -> Conversation:
        """Return the current conversation of `key`, made when there is none.

        Any number of concurrent callers get one conversation.
        """

    async def find(self, key: ConversationKey) -> Conversation | None:
        """Return the current conversation of `key`, without making one."""

    async def append(self, conversation_id: int, role: Role, text: str, *, at: datetime) -> Message:
        """Put a message behind all others, with no turn to answer it: for imports and for what is told, not asked.

        Raises:
            ConversationNotFound: and nothing is stored.
            UnstorableText: and nothing is stored.
        """

    async def recent(self, conversation_id: int, n: int) -> tuple[Message, ...]:
        """Return the last `n` messages, oldest first, in the order of DESIGN §4.

        User messages stand in the platform's order, an answer directly behind the last message that it answers; clocks and
        the order of arrival do not matter. What was committed is seen by the next call. Only the
        newest `LARGE_FILES` of the files larger than `SMALL_FILE` and the newest `SMALL_FILES` of the others come with their
        data, the rest with the problem `TOO_FAR_BACK`.

        Raises:
            ValueError: `n` is below 1.
            ConversationNotFound.
        """

    async def accept(self, message: NewMessage) -> int | None:
        """Take in a user's message: in one transaction, dedupe, get or create, append, queue a turn.

        Returns the conversation's id, or None when the event or the message is known already and nothing was stored:
        twice, at once, on two replicas or after a restart, one message is stored and answered once. At most one turn of a
        conversation is queued; it answers all that waits.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def accept_and_claim(
        self, message: NewMessage, *, lease: timedelta, window: int, per_workspace: int | None = None
    ) -> Accepted | None:
        """Do as `accept`, and in the same transaction claim the turn, when no other of its conversation is open or held.

        What `claim` obeys, this obeys too.

        It saves a commit for whoever has nothing better to do than this turn. Otherwise the turn is queued.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def claim(
        self,
        *,
        lease: timedelta,
        window: int,
        platforms: Collection[str],
        per_workspace: int | None = None,
        but: Collection[Spot] = (),
    ) -> Claim | None:
        """Take the oldest open turn of `platforms` whose conversation nobody holds; None when there is none.

        No two holders share a conversation. A turn whose holder's lease ran out is claimed again, before the queued one of
        its conversation. A queued turn takes the waiting messages along, the first `TURN_MESSAGES` in order; if more wait,
        a further turn is queued for them. Counts an attempt; a turn that was revised while it ran begins to count anew.

        Nothing is claimed where the setting `PAUSED` is `ON`, from the moment when it was kept. No turn is begun in a
        workspace where as many as its setting `WORKSPACE_RUNNING` says, or `per_workspace` where there is none, are held
        already; None is no limit. No turn is begun in the workspaces of `but` either. One that was begun before and is taken
        over is not kept waiting for that.

        A turn of a conversation that is sealed and can't be opened any more is DELIVERING with the error `DAMAGED`, and an
        empty window: nobody else has to wait behind it.
        """

    async def renew(self, hold: Hold, *, lease: timedelta) -> Renewal:
        """Extend the lease from now.

        Raises:
            LeaseLost: it ran out, or somebody else holds the conversation.
        """

    async def absorb(self, hold: Hold, *, window: int) -> Absorbed | None:
        """Let the turn answer what has arrived since as well; None when nothing waits.

        Within `TURN_MESSAGES`. The queued turn that waited for those messages goes with them.

        Raises:
            LeaseLost.
        """

    async def record_part(self, hold: Hold, number: int, platform_id: str) -> None:
        """Keep the platform's id of a posted part of the reply; a second id for one number replaces the first.

        Raises:
            LeaseLost.
        """

    async def finish(self, hold: Hold, answer: Answer | None, *, error: str = "", charge: Charge | None = None) -> bool:
        """Settle what the turn says, before it is shown in full: append `answer`, or note why there is none; DELIVERING.

        The answer stands directly behind the last message of the turn. A turn has one answer: finishing again replaces it.
        With an error in its stead, the answer of an earlier try stays. False when the turn was retracted meanwhile:
        nothing is kept but the charge, and what is shown of it already is to be taken back.

        `charge` is what it cost in all since it was claimed: it goes on its payers' accounts, one turn each, and what was
        reserved for it is let go of. Finishing again within one hold puts the new charge in place of the old.

        Raises:
            LeaseLost: and nothing is stored.
            UnstorableText: and nothing is stored.
            ValueError: both an answer and an error, or neither.
        """

    async def settle(self, hold: Hold, state: TurnState) -> None:
        """Bring the turn to a final state and let go of the conversation. Repeating it raises `LeaseLost`.

        A turn that was revised meanwhile is queued again in place of ending, unless its conversation has ended by then or
        another turn of it is queued. One that was retracted meanwhile ends as CANCELLED, whatever `state` is, by a holder
        who was told by `finish` or the claim; any other may have shown more of the reply, so it is claimed once more.

        Raises:
            LeaseLost.
            ValueError: `state` is not final.
        """

    async def release(self, hold: Hold, *, charge: Charge | None = None) -> None:
        """Hand the turn back for somebody else to carry out, with the attempt not counted: a planned stop is no crash.

        `charge` as in `finish`, of a turn that did not come to its end.

        Raises:
            LeaseLost.
        """

    async def stop(self, conversation_id: int) -> Stopped:
        """Cancel the queued turn and tell the holder of the running one, which learns of it by `renew`.

        What waited stays in the history and is not answered.
        """

    async def retry(self, conversation_id: int) -> bool:
        """Queue the conversation's last turn again, to answer the same messages anew; its parts are edited in place.

        The old answer stays until the new one is finished. A turn whose messages were all retracted is none. False when
        there is no turn, or an open one, or the conversation has expired.
        """

    async def keep_attachment(
        self, hold: Hold, message_id: int, number: int, data: bytes | None, *, problem: str = ""
    ) -> None:
        """Keep what was read of a message's attachment, or why it can't be read. It goes when the message goes.

        Nothing is kept of an attachment that is not there, or not in the conversation of the turn.

        Raises:
            LeaseLost.
            UnstorableText: in `problem`.
            ValueError: both data and a problem, or neither.
        """

    async def locate(self, name: MessageName) -> Located | None:
        """Find a message by its platform's name: what a user said, or a part of an answer. None when it is not kept here.

        Its conversation may have ended.
        """

    async def facts(self, turn_id: int) -> TurnFacts | None:
        """Return what is known of a turn; None when there is none."""

    async def put_feedback(self, turn_id: int, user: str, value: Feedback, *, at: datetime) -> bool:
        """Keep what a user thinks of a turn's answer, in place of what they thought before. It goes with the turn.

        False when there is no such turn, and nothing is kept.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def conversations_of(
        self, platform: str, workspace: str, author_id: str, *, limit: int
    ) -> tuple[ConversationSummary, ...]:
        """List conversations of a workspace that are a person's by their key or in which the person spoke.

        Current and ended ones, none that has expired; those last active first.

        Raises:
            ValueError: `limit` is below 1 or above `SUMMARIES`, or nobody is named.
        """

    async def revise(self, name: MessageName, text: str) -> Revised | None:
        """Replace the text of a user's message; None when it is not kept here.

        If it belongs to the latest turn of a current conversation, that turn is carried out anew, as by `retry`: at once
        when it has ended, else when it is settled (see there), and its holder is told to stop (`Renewal.stop`). A turn that
        is still queued will read the new text.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def retract(self, names: Collection[MessageName]) -> tuple[int, ...]:
        """Erase users' messages, with the answers that came of them alone; return the ids of their conversations.

        A turn that loses its last message is cancelled. If its reply is shown in part or in full, or may be (it was
        UNDELIVERABLE), or somebody holds it, it is claimed once more with the error `RETRACTED` and without an answer, to
        take the reply back. The names stay known: a redelivery does not bring the message back. So does a name that is not
        kept here, unless its channel is "": its message may be in another process's hands, and does not come in later.
        """

    async def close(
        self, platform: str, workspace: str, channel: str = "", thread: str = "", *, at: datetime
    ) -> tuple[int, ...]:
        """End every current conversation of a workspace, of one channel with its threads, or of one thread: it is gone.

        What was queued there ends as UNDELIVERABLE. Returns the conversations' ids.

        Raises:
            ValueError: no part is given, which would stand for everybody's direct messages.
        """

    async def watermarks(self, platform: str) -> tuple[Watermark, ...]:
        """Return how far each place of a platform was read, the furthest first."""

    async def mark(self, platform: str, marks: Collection[Watermark], *, at: datetime) -> None:
        """Keep how far places were read; a mark never goes back.

        Marks of threads and direct messages that rest go when the last conversation there is purged.
        """

    async def unmark(self, platform: str, workspace: str, channel: str = "", thread: str = "") -> None:
        """Forget how far a workspace, a channel with its threads, or one thread was read: it is gone.

        Raises:
            ValueError: no part is given.
        """

    async def recall(self, name: str) -> str:
        """Return the note that was kept under `name`, "" when there is none: what an adapter must know after a restart."""

    async def remember(self, name: str, note: str) -> None:
        """Keep a short note under `name`, in place of an earlier one; an empty one removes it.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def once(self, name: str, *, at: datetime) -> bool:
        """Tell whether `name` is told for the first time: of any number of callers, at once or later, one is told True.

        Names are forgotten by `forget_events`.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def put_installation(self, installation: Installation) -> None:
        """Keep the right to work in a workspace, in place of an earlier one of the same workspace and user.

        Raises:
            UnstorableText: and nothing is stored.
            ValueError: no workspace is given.
        """

    async def installations(self, platform: str, workspace: str = "") -> tuple[Installation, ...]:
        """Return the installations of a platform, or of one workspace of it, the newest first."""

    async def remove_installation(self, platform: str, workspace: str, user: str) -> bool:
        """Erase an installation; False when there is none."""

    async def purge_workspace(self, platform: str, workspace: str) -> int:
        """Erase all that belongs to a workspace and nothing else, for it is gone; return how many conversations went.

        Conversations with all that is in them, settings, accounts, audit entries, watermarks, installations, and notes whose
        names begin with "<platform>/<workspace>/". Running turns lose their leases. The names of deliveries stay until they
        are forgotten, so a redelivery brings nothing back. What is large goes in portions, between which others are served:
        if this is cancelled or the process ends, some of it is left, and calling it again does the rest.

        Raises:
            ValueError: no workspace is given, which would stand for everybody's direct messages.
        """

    async def busy(self, conversation_id: int) -> bool:
        """Tell whether a turn of the conversation is open: queued, running or being delivered."""

    async def end(self, conversation_id: int, *, at: datetime) -> None:
        """Let the key move on: its next message opens a new conversation. This one is kept until its time is up.

        Raises:
            ConversationNotFound.
        """

    async def delete(self, conversation_id: int) -> int:
        """Erase a conversation with its messages, turns and parts, and nothing else; return how many messages went.

        An id that is not there is no error: it is gone, as asked. A running turn loses its lease. It stays gone, as what
        `forget_person` erases.
        """

    async def expire(
        self,
        *,
        before: datetime,
        at: datetime,
        limit: int,
        within: Spot | None = None,
        but: Collection[Spot] = (),
        since: str | None = None,
    ) -> Expired:
        """End and mark for purging conversations last active before `before`, looking at no more than `limit` of them.

        Never one with an open turn. `within`: only those of one spot; `but`: none of these spots. `since` is where the batch
        before ended (`Expired.next`), None for the first: batches go on until there is no next one.
        """

    async def purge(self, *, before: datetime, limit: int) -> int:
        """Erase conversations that expired before `before`, at most `limit` rows at once, and return how many went.

        A conversation goes when the last of its messages has gone. One of which a reply is being taken back goes later.
        0 means that nothing is left to purge.
        """

    async def forget_events(self, *, before: datetime, limit: int) -> int:
        """Drop the ids of deliveries seen before `before`, at most `limit`; return how many. No redelivery is that late."""

    async def status(self) -> StoreStatus:
        """Count what waits and runs."""

    async def server_time(self) -> datetime | None:
        """Return the time of day by the clock of the store's server; None for a store without a server."""

    async def check(self) -> None:
        """Make sure that the store answers and can write.

        Raises:
            StoreUnavailable.
        """

    async def aclose(self) -> None:
        """Finish what was begun and close; may be called twice."""
