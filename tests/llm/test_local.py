"""The embedded model's process: the real child script on a made-up server; `test_local_real.py` has the real one."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.llm import local, local_child, local_server
from bot.llm.local_child import Child
from bot.llm.protocol import (
    Alive,
    Delta,
    Finish,
    FinishReason,
    Image,
    LLMRejected,
    LLMUnavailable,
    PromptMessage,
    PromptRole,
    Text,
    Usage,
)
from tests.fakes.clock import FakeClock
from tests.fakes.local_models import HI, STUB, Stub, ask, exists, kill_parent, lives, run_parent, text_of, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stub]:
    monkeypatch.setenv("PYTHONPATH", str(STUB))
    stub = Stub(tmp_path)
    yield stub
    for model in stub.models:
        await model.aclose()
    assert not [entry["pid"] for entry in stub.log("load") if lives(entry["pid"])], "a child was left behind"


async def test_it_answers_as_any_other_model_does(stub: Stub) -> None:
    deltas = await ask(stub.model(name="small"))

    assert text_of(deltas) == "Hello there"
    assert deltas[-1] == Finish(reason=FinishReason.STOP, usage=Usage(prompt_tokens=7, completion_tokens=2), model="stub")
    (asked,) = stub.log("asked")
    assert asked["body"]["max_tokens"] == local.LOCAL_MAX_TOKENS


async def test_it_is_told_the_text_alone(stub: Stub) -> None:
    photo = Image(media_type="image/png", data=b"\x89PNG")
    await ask(stub.model(), [PromptMessage(role=PromptRole.USER, text="What is this?", images=(photo,))])

    (asked,) = stub.log("asked")
    assert asked["body"]["messages"] == [{"role": "user", "content": "What is this?"}]


async def test_the_server_is_for_its_parent_alone(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "not-for-children")
    model = stub.model()
    await model.start()

    (load,) = stub.log("load")
    wanted = load["parameters"]
    (key,) = wanted["api_keys"]
    assert len(key) >= 32
    assert wanted["hostnames"] == ["127.0.0.1"]
    assert wanted["port"] == 0
    assert (wanted["ui"], wanted["cors_origins"], wanted["endpoint_slots"], wanted["offline"]) == (False, "", False, True)
    assert key not in " ".join(load["argv"])
    assert "DISCORD_TOKEN" not in load["environment"]
    assert local_server.KEY not in load["environment"]  # nothing that the server starts in its turn gets it


async def test_every_start_has_another_key(stub: Stub) -> None:
    for _ in range(2):
        await stub.model().start()

    first, second = stub.log("load")
    assert first["parameters"]["api_keys"] != second["parameters"]["api_keys"]


async def test_a_call_into_a_closed_connection_is_made_again(stub: Stub) -> None:
    stub.does(drops=1)

    assert text_of(await ask(stub.model())) == "Hello there"
    assert len(stub.log("asked")) == 2


async def test_callers_share_one_server_and_its_slots(stub: Stub) -> None:
    stub.does(gate=True)
    model = stub.model()
    answers = [asyncio.create_task(ask(model)) for _ in range(5)]
    await until(lambda: len(stub.log("answer")) == local_server.SLOTS)
    await asyncio.sleep(0.1)
    assert len(stub.log("answer")) == local_server.SLOTS

    stub.path.with_suffix(".gate").touch()

    assert [text_of(answer) for answer in await asyncio.gather(*answers)] == ["Hello there"] * 5
    assert max(entry["at_once"] for entry in stub.log("answer")) == local_server.SLOTS
    assert len(stub.log("load")) == 1


async def test_who_waits_for_a_slot_sees_that_it_goes_on(stub: Stub) -> None:
    stub.does(gate=True)
    clock = FakeClock()
    model = stub.model(clock)
    busy = [asyncio.create_task(ask(model)) for _ in range(local_server.SLOTS)]
    await until(lambda: len(stub.log("answer")) == local_server.SLOTS)

    async with model.stream(HI) as deltas:
        first = asyncio.ensure_future(anext(deltas))
        await clock.advance(timedelta(seconds=5))
        assert await first == Alive()
        stub.path.with_suffix(".gate").touch()
        await asyncio.gather(*busy)
        assert text_of([delta async for delta in deltas]) == "Hello there"


async def test_leaving_an_answer_or_the_queue_gives_the_slot_back(stub: Stub) -> None:
    stub.does(gate=True)
    model = stub.model()
    for _ in range(2 * local_server.SLOTS):
        async with model.stream(HI) as deltas:
            while not isinstance(await anext(deltas), Text):
                pass
    await until(lambda: len(stub.log("left")) == 2 * local_server.SLOTS)

    tasks = [asyncio.create_task(ask(model)) for _ in range(3 * local_server.SLOTS)]
    await until(lambda: len(stub.log("answer")) == 3 * local_server.SLOTS)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

    stub.path.with_suffix(".gate").touch()
    async with asyncio.timeout(10):
        assert text_of(await ask(model)) == "Hello there"
    assert len(stub.log("load")) == 1


async def test_a_start_outlives_the_caller_that_gave_up(stub: Stub) -> None:
    stub.does(load_seconds=0.5)
    model = stub.model()
    impatient = asyncio.create_task(ask(model))
    await until(lambda: stub.log("load"))
    impatient.cancel()
    await asyncio.wait([impatient])

    assert text_of(await ask(model)) == "Hello there"
    assert len(stub.log("load")) == 1


async def test_when_the_process_dies_the_answer_fails_and_the_next_call_starts_it_again(stub: Stub) -> None:
    stub.does(words=["one", " two", " three"], die_after=2)
    model = stub.model()

    seen: list[Delta] = []
    with pytest.raises(LLMUnavailable, match="process ended") as failure:
        await ask(model, see=seen.append)

    assert failure.value.retryable
    assert text_of(seen) == "one two"
    assert not exists(stub.pid)
    stub.path.with_suffix(".reborn").touch()
    assert text_of(await ask(model)) == "one two three"
    assert len(stub.log("load")) == 2


async def test_a_process_that_dies_between_calls_is_not_noticed_by_anyone(stub: Stub) -> None:
    model = stub.model()
    await model.start()
    with capture_logs() as logs:
        os.kill(stub.pid, signal.SIGKILL)
        await until(lambda: logs)

    assert logs == [{"event": "local.died", "log_level": "warning", "pid": stub.pid, "how": "SIGKILL"}]
    assert text_of(await ask(model)) == "Hello there"


async def test_a_server_that_keeps_dying_is_started_less_and_less_often(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.does(die_after=1)
    clock, step, start_child = FakeClock(), timedelta(seconds=0.25), local.start_child
    starts: list[timedelta] = []

    async def noting(*how: Any) -> Child:
        starts.append(clock.monotonic())
        return await start_child(*how)

    monkeypatch.setattr(local, "start_child", noting)
    model = stub.model(clock)
    waits = []
    for life in range(1, 9):
        began = clock.monotonic()
        task = asyncio.create_task(ask(model))
        while not task.done():
            await asyncio.sleep(0.02)
            if len(starts) < life:
                await clock.advance(step)
            elif len(stub.log("load")) < life:  # it is asked again and again whether it is up; a start takes its real time
                await clock.advance(timedelta(milliseconds=10))
        with pytest.raises(LLMUnavailable):
            task.result()
        waits.append(starts[-1] - began)

    assert max(waits[:2]) <= 2 * step
    assert local.LONGEST_BACK_OFF * 0.75 <= waits[-1] <= local.LONGEST_BACK_OFF + 2 * step


async def test_a_server_that_hangs_is_replaced(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.does(words=["one", " two"])
    clock = FakeClock()
    model = stub.model(clock)
    await model.start()
    os.kill(stub.pid, signal.SIGSTOP)

    stuck = asyncio.create_task(ask(model))
    with monkeypatch.context() as impatient:
        impatient.setattr(local_child, "HEALTH_LIMIT", timedelta(seconds=0.3))
        while not stuck.done():
            await asyncio.sleep(0.02)
            await clock.advance(timedelta(seconds=1))
    with pytest.raises(LLMUnavailable, match="process ended"):
        stuck.result()

    assert text_of(await ask(model)) == "one two"


async def test_a_failed_load_says_why_in_one_line(stub: Stub) -> None:
    stub.does(
        complaints=[
            "0.00.004.580 I srv          init: loading model",
            "0.00.018.016 E gguf_init_from_reader: failed to read key-value pairs",
            "0.00.019.463 E llama_model_load: error loading model",
        ]
    )
    with pytest.raises(
        LLMRejected, match=r"can't be loaded: gguf_init_from_reader: failed to read key-value pairs\. "
    ) as failure:
        await stub.model().start()

    assert "\n" not in str(failure.value)
    assert "LLM_PROVIDER=echo" in str(failure.value)
    assert not exists(stub.pid)


async def test_a_load_that_takes_for_ever_is_ended(stub: Stub) -> None:
    stub.does(load_seconds=60)

    with pytest.raises(LLMUnavailable, match="did not load within"):
        await stub.model(load_limit=timedelta(seconds=1)).start()

    assert all(not exists(entry["pid"]) for entry in stub.log("load"))


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            "libgomp.so.1: cannot open shared object file: No such file or directory",
            "apt-get install libgomp1 libstdc.*LLM_BASE_URL",
        ),
        ("No module named 'xllamacpp'", r"pip install 'parley\[local\]'.*LLM_PROVIDER=echo"),
    ],
)
async def test_what_is_missing_is_named_with_its_remedy(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, remedy: str
) -> None:
    (tmp_path / "xllamacpp.py").write_text(f"raise ImportError({error!r})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with pytest.raises(LLMRejected, match=remedy):
        await ask(stub.model())


async def test_a_bad_command_is_unavailable(stub: Stub, tmp_path: Path) -> None:
    with pytest.raises(LLMUnavailable, match="can't be started"):
        await stub.model(command=[str(tmp_path / "nothing")]).start()


async def test_closing_ends_the_process_and_what_it_was_saying(stub: Stub) -> None:
    stub.does(gate=True)
    model = stub.model()
    answer = asyncio.create_task(ask(model))
    await until(lambda: stub.log("answer"))

    await model.aclose()
    await model.aclose()

    assert not exists(stub.pid)
    with pytest.raises(LLMUnavailable):
        await answer
    with pytest.raises(LLMUnavailable, match="shut down"):
        await ask(model)


async def test_closing_during_the_load_leaves_nothing(stub: Stub) -> None:
    stub.does(load_seconds=60)
    model = stub.model()
    waiting = asyncio.create_task(ask(model))
    await until(lambda: stub.log("load"))

    await model.aclose()

    assert not exists(stub.pid)
    await asyncio.wait([waiting])


async def test_the_signals_that_mean_the_parent_do_not_end_the_child(stub: Stub) -> None:
    model = stub.model()
    await model.start()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(stub.pid, number)
    await asyncio.sleep(0.1)

    assert text_of(await ask(model)) == "Hello there"
    assert len(stub.log("load")) == 1


@pytest.mark.parametrize(("load_seconds", "stage"), [(0, "loaded"), (30, "loading")])
async def test_the_child_ends_with_its_parent_however_that_ends(stub: Stub, load_seconds: float, stage: str) -> None:
    stub.does(load_seconds=load_seconds)
    parent = run_parent(stub.path, stage)
    await until(lambda: stub.log("load"))

    kill_parent(parent)

    await until(lambda: not lives(stub.pid), seconds=5)


def test_an_environment_without_the_server_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert "parley[local]" in (local.local_unavailable() or "")
