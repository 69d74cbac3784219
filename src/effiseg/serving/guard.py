"""What holds for every request: the Host and the Origin that it names, and the headers of its answer."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    # Together these two isolate the page, which lets it run threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; worker-src 'self'; media-src blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class Guard:
    """An application behind the checks of Host and Origin.

    A page of a stranger may neither reach it under a name of its own, nor make it work by sending pictures that it may
    not read the answers to.

    Args:
        app: answers the requests that pass.
        hosts: names and addresses that Host and Origin may have, without port.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the arguments are ASGI's."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from starlette.responses import PlainTextResponse

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        answer = self._app
        if len(given := _values(scope, b"host")) != 1 or host_name(f"//{given[0]}") not in self._hosts:
            reason = "the Host of this request is none of this server's names"
            answer = PlainTextResponse(f"{reason}\n", status_code=400)
        elif any(host_name(origin) not in self._hosts for origin in _values(scope, b"origin")):
            reason = "this request comes from a page of another site"
            answer = PlainTextResponse(f"{reason}\n", status_code=403)
        await answer(scope, receive, send_with_headers)


def _values(scope: Scope, header: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == header]


def host_name(address: str) -> str:
    """The name or address in a URL, lower case and without port; empty where it cannot be read."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
