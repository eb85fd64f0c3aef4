"""Two processes of `parley run` behind one address by HTTP: any of them may get any event, and people see one bot."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.bots import WITHIN, bot_in
from tests.e2e.ledger import read_database
from tests.e2e.replica import Replica
from tests.e2e.servers import Model
from tests.e2e.zygote import Zygote
from tests.fakes.slack import FakeSlackThread


@pytest.fixture
def replicas(
    helper: Zygote, tmp_path: Path, model: Model, slack: FakeSlackThread, database: str
) -> Iterator[list[tuple[Replica, str]]]:
    """Two of them, with the address of each."""
    env = {
        **model.env,
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_SIGNING_SECRET": slack.signing_secret,
        "SLACK_API_BASE_URL": slack.api_url,
        "DATABASE_URL": database,
        "LOG_FORMAT": "json",
    }
    with ExitStack() as stack:
        made = []
        for name in ("one", "other"):
            replica = Replica(name, stack.enter_context(bot_in(helper, tmp_path / name, env)))
            replica.start()
            slack.until(lambda replica=replica: replica.readiness() == 200, within=WITHIN)
            port = replica.logged("web.started")[-1]["port"]
            made.append((replica, f"http://127.0.0.1:{port}/slack/events"))
        yield made


def test_events_that_are_dealt_to_both_are_answered_once_and_in_order_and_one_of_them_may_go(
    replicas: list[tuple[Replica, str]], slack: FakeSlackThread, database: str
) -> None:
    ada = slack.do(slack.workspace.user, "Ada")
    us = slack.workspace.bot.id

    def ask(number: int, *urls: str) -> None:
        for at, url in enumerate(urls):
            slack.events_url = url
            if at == 0:
                said = slack.do(ada.say, ada.dm, f"question {number}")
            else:
                slack.do(slack.deliver_again, said, 2)
            slack.until(lambda: slack.quiet, within=WITHIN)
        slack.until(lambda: any(f"You asked: question {number}" in text for text in shown()), within=WITHIN)

    def shown() -> list[str]:
        return [message.shown for message in ada.dm.messages if message.author.id == us]

    (one, first), (other, second) = replicas
    for number in range(6):
        ask(number, *((first, second) if number % 2 else (second, first)))
    assert one.stop() == 0
    ask(6, second)
    assert other.stop() == 0
    asked = [f"question {number}" for number in range(7)]
    assert [said.text for said in read_database(database).said] == asked
    assert len(shown()) == 7
    assert all(replica.logged("intake.accepted") and not replica.complaints for replica, _ in replicas)
