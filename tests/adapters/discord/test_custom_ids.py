"""The ids of buttons come back as they were made, and Discord takes them."""

import pytest

from bot.adapters.discord.custom_ids import CONTROL_ID, control_id, nonce_of
from bot.chat.protocol import Control

LONGEST = 100


@pytest.mark.parametrize("control", Control)
def test_a_button_tells_all_that_a_press_needs_within_discords_limit(control: Control) -> None:
    largest, nonce = 2**63 - 1, "z" * 25
    custom_id = control_id(control, largest, nonce)
    assert len(custom_id) <= LONGEST
    found = CONTROL_ID.fullmatch(custom_id)
    assert found is not None
    assert (found["control"], int(found["turn"]), found["nonce"]) == (control.value, largest, nonce)
    assert nonce_of(custom_id) == nonce


@pytest.mark.parametrize(
    "strange", ["", "other:stop:1:n", "parley:dance:1:n", "parley:stop:1:n:x", "parley:stop:-1:n", "x" * 100]
)
def test_a_button_of_others_is_none_of_ours(strange: str) -> None:
    assert nonce_of(strange) is None
