"""Where a workspace is heard: on exactly one of the shards, as Discord itself counts them."""

from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.discord.shard import Shard


@given(guild=st.integers(1, 2**63 - 1), count=st.integers(1, 64))
def test_a_server_is_heard_on_one_shard_by_discord_s_formula(guild: int, count: int) -> None:
    hearing = [number for number in range(count) if Shard(number, count).hears(str(guild))]
    assert hearing == [(guild >> 22) % count]


@given(count=st.integers(1, 64))
def test_direct_messages_are_heard_on_the_first_shard_alone(count: int) -> None:
    assert [number for number in range(count) if Shard(number, count).hears("")] == [0]
