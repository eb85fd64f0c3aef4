"""The contract of `store.protocol.Store`: one test for each law, the same for every engine.

A subclass provides the fixture `opens`, how its store is opened. Of it come, in `tests/store/conftest.py`, `store`, which is
empty, and `reopen`, which closes it and opens another at the same place: for an engine that keeps what it was told. No law
moves a clock: a lease of no time is over at once, on any engine.
"""

from tests.contracts.store_laws_accept import AcceptLaws
from tests.contracts.store_laws_accounts import ChargeLaws, ReserveLaws, UsageLaws
from tests.contracts.store_laws_attachments import AttachmentLaws
from tests.contracts.store_laws_begin import BeginLaws
from tests.contracts.store_laws_bursts import AbsorbLaws, BurstLaws, StopLaws
from tests.contracts.store_laws_conversations import ConversationLaws, OrderLaws
from tests.contracts.store_laws_edits import FactsLaws, LocateLaws, ReviseLaws
from tests.contracts.store_laws_forgetting import DurableForgettingLaws, ForgetPersonLaws, ScrubLaws
from tests.contracts.store_laws_governing import GoverningLaws, PauseLaws, RunningLaws
from tests.contracts.store_laws_keeping import (
    ExpireNowLaws,
    ExportLaws,
    ExtendLaws,
    LastSaidLaws,
    ListLaws,
    PersonaLaws,
    RecordLaws,
)
from tests.contracts.store_laws_lifetime import ExpireLaws, PurgeLaws
from tests.contracts.store_laws_people import FeedbackLaws, OnceLaws, ParticipantLaws
from tests.contracts.store_laws_places import PlaceLaws, SettingLaws, WatermarkLaws
from tests.contracts.store_laws_queue import QueueLaws
from tests.contracts.store_laws_recovery import RecoveryLaws, RetryLaws
from tests.contracts.store_laws_retractions import RetractLaws, TakeBackLaws
from tests.contracts.store_laws_sharing import BudgetLaws, ShareLaws
from tests.contracts.store_laws_texts import CancellationLaws, CloseLaws, DurableLaws, TextLaws
from tests.contracts.store_laws_turns import ClaimLaws, FenceLaws, FinishLaws
from tests.contracts.store_laws_workspaces import InstallationLaws, PurgeWorkspaceLaws


class StoreLaws(
    ConversationLaws,
    OrderLaws,
    AcceptLaws,
    BeginLaws,
    ClaimLaws,
    FenceLaws,
    FinishLaws,
    BurstLaws,
    AbsorbLaws,
    StopLaws,
    RecoveryLaws,
    RetryLaws,
    AttachmentLaws,
    LocateLaws,
    FactsLaws,
    ReviseLaws,
    RetractLaws,
    TakeBackLaws,
    ExpireLaws,
    PurgeLaws,
    PlaceLaws,
    WatermarkLaws,
    SettingLaws,
    GoverningLaws,
    PauseLaws,
    RunningLaws,
    QueueLaws,
    ReserveLaws,
    ChargeLaws,
    UsageLaws,
    FeedbackLaws,
    ParticipantLaws,
    OnceLaws,
    InstallationLaws,
    PurgeWorkspaceLaws,
    ListLaws,
    RecordLaws,
    ExpireNowLaws,
    ExtendLaws,
    PersonaLaws,
    LastSaidLaws,
    ExportLaws,
    ForgetPersonLaws,
    ScrubLaws,
    ShareLaws,
    BudgetLaws,
    TextLaws,
    CancellationLaws,
    CloseLaws,
):
    """What every store does."""


class DurableStoreLaws(StoreLaws, DurableLaws, DurableForgettingLaws):
    """What every store does that outlives its process."""
