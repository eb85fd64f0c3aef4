"""The buttons under an answer: a press reaches its turn, also under a message from before a restart.

A button's id says all that there is to know about it (`bot.adapters.discord.custom_ids`), so no view is remembered: the
library recognises the id and makes the button anew for each press.
"""

import re
from typing import Any, Self

import discord

from bot.adapters.discord.custom_ids import CONTROL_ID
from bot.adapters.discord.interactions import place_of, respond
from bot.adapters.discord.places import Places, category_of
from bot.adapters.discord.standing import of_caller
from bot.chat.controls import ControlPresses
from bot.chat.protocol import CommandReply, Control, ControlCall
from bot.clock import Clock


def control_button(
    presses: ControlPresses, places: Places, clock: Clock
) -> type[discord.ui.DynamicItem[discord.ui.Item[Any]]]:
    """Make the kind of button that a client must know (`Client.add_dynamic_items`) for presses to reach `presses`."""

    class ControlButton(discord.ui.DynamicItem[discord.ui.Item[Any]], template=CONTROL_ID):
        def __init__(self, button: discord.ui.Item[Any], control: Control, turn_id: int) -> None:
            super().__init__(button)
            self.control = control
            self.turn_id = turn_id

        @classmethod
        async def from_custom_id(
            cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
        ) -> Self:
            return cls(item, Control(match["control"]), int(match["turn"]))

        async def callback(self, interaction: discord.Interaction[Any]) -> None:
            async def work() -> CommandReply:
                return CommandReply(text=await presses.press(await self._call(interaction)))

            await respond(interaction, work)

        async def _call(self, interaction: discord.Interaction[Any]) -> ControlCall:
            under = interaction.message
            where, address = await place_of(interaction, places, reply_to=under.id if under else None)
            return ControlCall(
                control=self.control,
                turn_id=self.turn_id,
                place=where.place,
                address=address,
                message_id=str(interaction.id),
                position=interaction.id,
                author_id=str(interaction.user.id),
                author_name=interaction.user.display_name,
                standing=of_caller(interaction),
                category=category_of(where, interaction.guild),
                at=clock.now(),
            )

    return ControlButton
