"""The fake Slack in a thread of its own, for tests that run the bot as a separate process."""

from typing import Any

from tests.fakes.slack.server import FakeSlack
from tests.fakes.threaded import FakeInThread


class FakeSlackThread(FakeInThread):
    """Takes what `FakeSlack` takes, and has what it has. Read anything directly; what does something goes through `do`:

    with FakeSlackThread() as slack:
        ada = slack.do(slack.workspace.user, "Ada")
        general = slack.do(slack.workspace.channel, "general", ada)
        slack.do(ada.say, general, "hello")
        slack.until(lambda: general.texts[-1] == "Hi!")
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(FakeSlack(**options))
