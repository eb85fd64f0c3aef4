"""What the tests of whole processes share: one helper that forks them, one model server, one PostgreSQL, a shell each."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.servers import Model, model_server
from tests.e2e.shell import Shell
from tests.e2e.zygote import Zygote, zygote
from tests.engines.postgres import PostgresServer
from tests.fakes.slack import FakeSlackThread


@pytest.fixture(scope="session")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    home = tmp_path_factory.mktemp("helper")
    with zygote({"HOME": str(home)}, stderr=home / "stderr") as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with model_server(tmp_path_factory.mktemp("model"), delay_ms=3) as server:
        yield server


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL, started once; who stops it starts it again."""
    with PostgresServer.made(options={"fsync": "off"}) as made:
        yield made


@pytest.fixture
def database(server: PostgresServer) -> str:
    """The address of an empty database."""
    return server.database()


@pytest.fixture
def slack() -> Iterator[FakeSlackThread]:
    """A Slack that soon delivers again what nobody acknowledged."""
    with FakeSlackThread(retry_after=[timedelta(seconds=1)] * 5) as fake:
        yield fake


@pytest.fixture
def shell(helper: Zygote, tmp_path: Path) -> Shell:
    """Where `parley` answers with an echo."""
    (home := tmp_path / "home").mkdir()
    return Shell(helper, home, LLM_PROVIDER="echo")


@pytest.fixture
def talk(helper: Zygote, tmp_path: Path, model: Model) -> Shell:
    """Where `parley` asks the model server."""
    (home := tmp_path / "home").mkdir()
    return Shell(helper, home, **model.env)
