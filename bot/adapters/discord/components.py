"""The row of buttons under an answer, as Discord's message components."""

from typing import Any

from discord import ButtonStyle, ComponentType

from bot.adapters.discord.custom_ids import control_id
from bot.chat.protocol import Control, Controls

LABELS = {Control.STOP: "Stop", Control.RETRY: "Regenerate", Control.CONTINUE: "Continue"}
_STYLES = {Control.CONTINUE: ButtonStyle.primary}


def rows(controls: Controls, nonce: str) -> list[dict[str, Any]]:
    """Write the buttons in their order; no row at all when none is offered.

    Written by hand and not with `discord.ui.View`: a client keeps every view it sends for ever, and these need no memory.
    """
    buttons = [
        {
            "type": ComponentType.button.value,
            "style": _STYLES.get(control, ButtonStyle.secondary).value,
            "label": LABELS[control],
            "custom_id": control_id(control, controls.turn_id, nonce),
        }
        for control in controls.offered
    ]
    return [{"type": ComponentType.action_row.value, "components": buttons}] if buttons else []
