"""Who may talk to the page: pages that this server has served, and with requests of acceptable size.

The host is checked by starlette (DNS rebinding). But a browser lets any page open a WebSocket to any host, so what
another page sends is told by its ``Origin``; and a request is read no further than it may be long.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]


class _TooLongError(Exception):
    """The body of a request is longer than it may be."""


class Guard:
    """ASGI middleware that answers requests of other origins with 403, and those that are too long with 413."""

    def __init__(self, app: App, origins: list[str], largest: int) -> None:
        self.app, self.origins, self.largest = app, origins, largest

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        length = headers.get(b"content-length", "0")
        if headers.get(b"origin", self.origins[0]) not in self.origins:
            await _refuse(scope, send, 403)
        elif len(length) > 12 or (length.isdecimal() and int(length) > self.largest):
            await _refuse(scope, send, 413)
        elif scope["type"] == "websocket":
            await self.app(scope, receive, send)
        else:
            await self._limited(scope, receive, send)

    async def _limited(self, scope: Message, receive: Receive, send: Send) -> None:
        read, started = 0, False

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.largest:
                raise _TooLongError
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except _TooLongError:
            if not started:
                await _refuse(scope, send, 413)


async def _refuse(scope: Message, send: Send, status: int) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
