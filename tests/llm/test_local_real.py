"""The embedded model with its real server and, of the two models, the small one."""

import asyncio
import os
import random
import signal
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from bot.clock import SystemClock
from bot.llm import local, local_child
from bot.llm.local import LocalModel
from bot.llm.protocol import Delta, Finish, LLMRejected, LLMUnavailable, PromptMessage, PromptRole, Text
from bot.llm.weights import SMOLLM2, ModelFile, WeightsError, fetch_weights
from tests.fakes.local_models import ask, exists, kill_parent, lives, run_parent, text_of, until

pytestmark = [pytest.mark.anyio, pytest.mark.local_model]


@pytest.fixture(scope="module")
def smollm2() -> ModelFile:
    """The small model in the user's own cache, where the first run of these tests fetches it."""
    if why := local.local_unavailable():
        pytest.skip(why)
    try:
        return fetch_weights((SMOLLM2,))
    except WeightsError as exc:
        pytest.skip(str(exc))


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def children_of(pid: int) -> set[int]:
    """The processes that a process has started; this one's are also those of other tests."""
    return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@on_linux
async def test_the_real_server_answers_dies_and_comes_back(smollm2: ModelFile) -> None:
    model = LocalModel(smollm2.path, SystemClock(), random.Random(1), name=smollm2.name, max_tokens=200)
    question = PromptMessage(role=PromptRole.USER, text="Count from one to fifty, in words.")
    others = children_of(os.getpid())
    try:
        await model.start()
        (server,) = children_of(os.getpid()) - others
        seen = await ask(model, [question])
        assert sum(isinstance(delta, Text) for delta in seen) > 3, "word by word"
        assert isinstance(seen[-1], Finish)
        assert seen[-1].model == "smollm2-135m-instruct"
        assert seen[-1].usage.prompt_tokens > 5

        def shoot(delta: Delta) -> None:
            if isinstance(delta, Text) and exists(server):
                os.kill(server, signal.SIGKILL)

        with pytest.raises(LLMUnavailable, match="process ended"):
            await ask(model, [question], see=shoot)

        answers = await asyncio.gather(*(ask(model) for _ in range(5)))  # more than it has slots
        assert all(map(text_of, answers))
        (server,) = children_of(os.getpid()) - others
    finally:
        await model.aclose()
    assert not exists(server)


@on_linux
async def test_the_real_server_wants_its_key_and_dumps_no_core(smollm2: ModelFile) -> None:
    child = await local_child.start_child(local.SERVER, smollm2.path, smollm2.name, 1, SystemClock(), timedelta(seconds=60))
    try:
        async with httpx.AsyncClient(base_url=child.address, trust_env=False) as http:
            body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
            for path in ("/v1/chat/completions", "/completion", "/tokenize", "/slots", "/props", "/v1/models"):
                answer = await (http.get(path) if path in ("/slots", "/props") else http.post(path, json=body))
                assert answer.status_code in (401, 404, 501), path
            keyed = await http.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {child.key}"})
            assert keyed.status_code == 200
            assert keyed.headers.get("Access-Control-Allow-Origin", "") == ""
        limits = Path(f"/proc/{child.pid}/limits").read_text()
        assert "Max core file size 0 0 bytes" in " ".join(limits.split())
        assert f"127.0.0.1:{httpx.URL(child.address).port}" in child.address
    finally:
        await child.end()


@on_linux
@pytest.mark.parametrize("stage", ["loaded", "loading"])
async def test_the_real_server_ends_with_its_parent(smollm2: ModelFile, stage: str) -> None:
    parent = run_parent(smollm2.path, stage)
    await until(lambda: children_of(parent.pid))
    (server,) = children_of(parent.pid)
    if stage == "loading":
        await asyncio.sleep(0.3)  # into the load, which holds the child's interpreter

    kill_parent(parent)

    await until(lambda: not lives(server), seconds=5)


async def test_a_file_that_is_no_model_is_refused_by_the_real_server(tmp_path: Path) -> None:
    if why := local.local_unavailable():
        pytest.skip(why)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(range(256)) * 100)
    model = LocalModel(broken, SystemClock(), random.Random(1))
    try:
        with pytest.raises(LLMRejected, match="can't be loaded: gguf"):
            await model.start()
    finally:
        await model.aclose()
