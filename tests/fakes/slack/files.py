"""Files: the upload in three steps, and the host that gives them only to who has the token."""

from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes.file_serving import FileServing
from tests.fakes.slack import refusals, saying
from tests.fakes.slack.api import Call, Method, Methods
from tests.fakes.slack.messages import Attachment, File, Message
from tests.fakes.slack.refusals import Refusal

if TYPE_CHECKING:
    from tests.fakes.slack.people import User
    from tests.fakes.slack.server import FakeSlack

Json = Any

LOGIN_PAGE = "<!DOCTYPE html><html><head><title>Sign in | Slack</title></head><body>Sign in to your workspace</body></html>"


class FileHost(FileServing):
    """Answers `/upload/...` and `/files-pri/...`."""

    def __init__(self, slack: "FakeSlack") -> None:
        super().__init__()
        self._slack = slack
        self.known: dict[str, Attachment] = {}
        self.pending: dict[str, tuple[str, int]] = {}
        """Uploads that were announced: their names and lengths."""
        self.uploaded: dict[str, bytes] = {}

    def add(self, owner: "User", file: File, number: str | None = None) -> Attachment:
        number = number or self._slack.new_id("F")
        attachment = Attachment(
            number, file, owner, f"{self._slack.files_url}/files-pri/{owner.team.id}-{number}/{file.name}"
        )
        self.known[number] = attachment
        return attachment

    async def upload(self, request: web.Request) -> web.Response:
        number = request.match_info["file_id"]
        if number not in self.pending:
            return web.Response(status=404, text="no such upload")
        if request.content_type.startswith("multipart/"):
            parts = [value for value in (await request.post()).values() if isinstance(value, web.FileField)]
            data = parts[0].file.read() if parts else b""
        else:
            data = await request.read()
        if len(data) != self.pending[number][1]:
            return web.Response(status=400, text="the length is not what was announced")
        self.uploaded[number] = data
        return web.Response(text=f"OK - {len(data)}")

    async def download(self, request: web.Request) -> web.StreamResponse:
        attachment = self.known.get(request.match_info["file_id"].rpartition("-")[2])
        if attachment is None:
            return web.Response(status=404, text="not found")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self._slack.downloads.append((attachment, token))
        team = next((team for team in self._slack.teams if team.bot_token == token), None)
        allowed = team is not None and token not in self._slack.revoked and "files:read" in team.scopes
        if not allowed or attachment.file.serve == "login":
            return web.Response(text=LOGIN_PAGE, content_type="text/html")
        attachment.fetched += 1
        return await self.serve_as_asked(request, attachment)

    async def _serve_ok(self, _: web.Request, attachment: Attachment) -> web.StreamResponse:
        return web.Response(body=attachment.data, content_type=attachment.mimetype)

    async def _serve_gone(self, _: web.Request, __: Attachment) -> web.StreamResponse:
        return web.Response(status=404, text="file deleted")


def get_upload_url(call: Call) -> Json:
    number, length = call.slack.new_id("F"), call.number("length", 0)
    if not length:
        raise refusals.invalid_arguments("missing required field: length")
    call.slack.files.pending[number] = (call.required("filename"), length)
    return {"upload_url": f"{call.slack.files_url}/upload/v1/{number}", "file_id": number}


def complete_upload(call: Call) -> Json:
    host, bot = call.slack.files, call.team.bot
    wanted = call.json("files")
    if not wanted or any(item["id"] not in host.uploaded for item in wanted):
        raise Refusal("file_not_found" if wanted else "invalid_arguments")
    channel = call.writable("channel_id") if call.text("channel_id") else None
    thread_ts = call.text("thread_ts") or None
    if channel is not None and thread_ts is not None and thread_ts not in channel.by_ts:
        raise Refusal("invalid_thread_ts")
    attachments = []
    for item in wanted:
        file = File(host.pending.pop(item["id"])[0], host.uploaded.pop(item["id"]))
        attachments.append(host.add(bot, file, item["id"]))
        attachments[-1].title = item.get("title")
    if channel is not None:
        stamp = call.slack.stamps.new(call.slack.clock.now())
        root = channel.by_ts[thread_ts].root_ts if thread_ts else None
        message = Message(stamp, channel, bot, call.text("initial_comment"), root, files=attachments, subtype="file_share")
        channel.add(message)
        saying.notify(message, message.text)
        saying.tell_of_new(message)
    return {"files": [attachment.json() for attachment in attachments]}


def info(call: Call) -> Json:
    attachment = call.slack.files.known.get(call.required("file"))
    if attachment is None:
        raise Refusal("file_not_found")
    return {"file": attachment.json() | {"shares": _shares(call, attachment)}}


def _shares(call: Call, attachment: Attachment) -> Json:
    """In which messages it is, by kind and place of channel."""
    shares: Json = {}
    for channel in call.slack.channels.values():
        found = [{"ts": message.ts} for message in channel.messages if attachment in message.files]
        if found:
            shares.setdefault("public" if channel.kind == "public" else "private", {})[channel.id] = found
    return shares


METHODS: Methods = {
    "files.getUploadURLExternal": Method(get_upload_url, "files:write"),
    "files.completeUploadExternal": Method(complete_upload, "files:write"),
    "files.info": Method(info, "files:read"),
}
