"""A platform in memory that can be asked for what was said lately, as `bot.chat.away` asks."""

from dataclasses import replace
from datetime import datetime

from bot.chat.protocol import NO_CONTROLS, Address, Controls
from bot.clock import Clock
from tests.fakes.surface import FakeSurface


class RecentSurface(FakeSurface):
    """Looks at what was posted since the moment that an address of `said_since` names."""

    def __init__(self, clock: Clock, *, nonces: bool = True) -> None:
        super().__init__(clock, nonces=nonces)
        self._posted_at: dict[str, datetime] = {}

    async def post(
        self, address: Address, text: str, *, nonce: str, first: bool = True, controls: Controls = NO_CONTROLS
    ) -> str:
        posted = await super().post(address, text, nonce=nonce, first=first, controls=controls)
        self._posted_at.setdefault(posted, self._clock.now())
        return posted

    async def find(self, address: Address, *, nonce: str, text: str) -> str | None:
        await super().find(replace(address, reply_to=""), nonce=nonce, text=text)
        since = datetime.fromisoformat(address.reply_to)
        recent = [shown.id for shown in self.shown(address) if self._posted_at[shown.id] >= since and shown.nonce == nonce]
        return recent[-1] if recent else None


def said_since(address: Address, moment: datetime) -> Address:
    return replace(address, reply_to=moment.isoformat())
