"""The application: the page's files, `POST /predict` and `GET /healthz`, under limits."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from effiseg.config.web import ServeConfig
from effiseg.data.image_file import ImageSizeError, UnknownImageError
from effiseg.errors import DataError
from effiseg.prediction.pictures import encode_png
from effiseg.serving.guard import Guard
from effiseg.serving.labeling import Labeled, Labeler
from effiseg.version import __version__

_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", "": "text/plain"}
_BYTES_TYPE = "application/octet-stream"
_PNG, _JSON = "image/png", "application/json"
_SECONDS_TO_RETRY = "1"


def build_app(labeler: Labeler, page: Mapping[str, Path], config: ServeConfig, hosts: list[str]) -> Guard:
    """The application that a server runs.

    Args:
        labeler: answers `POST /predict`.
        page: path in the page → file; no other file is ever read for a request.
        config: the limits.
        hosts: names and addresses that requests may call the server.
    """
    app = FastAPI(title="effiseg", version=__version__, docs_url=None, redoc_url=None)
    app.add_exception_handler(HTTPException, _one_line)
    desk = _Desk(labeler, config)
    for name, file in page.items():
        app.add_api_route(f"/{name}", _sender(file), methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/", _sender(page["index.html"]), methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/healthz", desk.health, methods=["GET"])
    app.add_api_route(
        "/predict", desk.predict, methods=["POST"], response_class=Response,
        responses={200: {"content": {_PNG: {}, _JSON: {}}}},
        openapi_extra={"requestBody": {"required": True, "content": {"image/*": {}, _BYTES_TYPE: {}}}},
    )  # fmt: skip
    return Guard(app, hosts)


def _sender(file: Path) -> Callable[[], Awaitable[Response]]:
    kind = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or _BYTES_TYPE

    async def send() -> Response:
        return FileResponse(file, media_type=kind)

    return send


async def _one_line(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"{error.detail}\n", status_code=error.status_code, headers=error.headers)


class _Desk:
    """Where requests to label pictures are taken, refused and answered."""

    def __init__(self, labeler: Labeler, config: ServeConfig) -> None:
        self._labeler = labeler
        self._config = config
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="labeling")
        self._in_work = 0  # changed in the event loop's thread alone

    async def health(self) -> dict[str, Any]:
        """What runs, and how busy it is."""
        return {
            "status": "ok", "version": __version__, "model": self._labeler.name, "in_work": self._in_work,
            "concurrency": self._config.concurrency,
        }  # fmt: skip

    async def predict(self, request: Request) -> Response:
        """Label a picture, the raw body: a PNG of class indices, or where Accept asks for JSON the classes' areas."""
        kind = request.headers.get("content-type", _BYTES_TYPE).partition(";")[0].strip().lower()
        if kind != _BYTES_TYPE and not kind.startswith("image/"):
            raise HTTPException(415, f"the body must be an image file of type image/* or {_BYTES_TYPE}; found {kind}")
        if self._in_work >= self._config.concurrency:
            reason = f"{self._in_work} requests are being answered already; try again"
            raise HTTPException(503, reason, {"Retry-After": _SECONDS_TO_RETRY})
        self._in_work += 1
        work: Future[Labeled] | None = None
        try:
            async with asyncio.timeout(self._config.timeout):
                body = await self._body(request)
                work = self._thread.submit(self._labeler, body)
                labeled = await asyncio.wrap_future(work)
                return await asyncio.to_thread(_answer, labeled, self._labeler.name, _wants_json(request))
        except TimeoutError:
            raise HTTPException(504, f"no answer within {self._config.timeout:g} seconds") from None
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except DataError as error:
            status = {UnknownImageError: 415, ImageSizeError: 413}.get(type(error), 400)
            raise HTTPException(status, str(error)) from None
        finally:
            self._leave_after(work)

    async def _body(self, request: Request) -> bytes:
        most = self._config.max_bytes
        refusal = HTTPException(413, f"a picture has at most {most} bytes; found more")
        declared = request.headers.get("content-length", "0")
        if not declared.isascii() or not declared.isdigit() or int(declared) > most:
            raise refusal
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > most:
                raise refusal
        if not body:
            raise HTTPException(400, "the body must be an image file; found none")
        return bytes(body)

    def _leave_after(self, work: Future[Labeled] | None) -> None:
        """Give the request's place back when its work has ended: what a thread has begun cannot be stopped."""
        loop = asyncio.get_running_loop()

        def leave() -> None:
            self._in_work -= 1

        if work is None:
            leave()
        else:
            work.cancel()
            work.add_done_callback(lambda done: loop.call_soon_threadsafe(leave))


def _answer(labeled: Labeled, model: str, as_json: bool) -> Response:
    found = labeled.segmentation
    if not as_json:
        return Response(encode_png(found.labels), media_type=_PNG)
    height, width = found.labels.shape
    value = {
        "model": model, "width": width, "height": height, "areas": found.areas(),
        "milliseconds": round(labeled.milliseconds, 1),
    }  # fmt: skip
    return JSONResponse(value)


def _wants_json(request: Request) -> bool:
    """Whether Accept prefers JSON to a picture; where it wants neither, or both alike, the answer is the picture."""
    accepted = request.headers.get("accept", "*/*")
    return _quality(accepted, _JSON) > _quality(accepted, _PNG)


def _quality(accepted: str, kind: str) -> float:
    """How much an Accept header wants a media type, 0..1: its most exact mention counts."""
    found: list[tuple[int, float]] = [(0, 0.0)]
    for entry in accepted.split(","):
        mention, *parameters = (part.strip().lower() for part in entry.split(";"))
        exactness = {kind: 3, f"{kind.partition('/')[0]}/*": 2, "*/*": 1}.get(mention)
        if exactness is not None:
            weights = [part.partition("=")[2] for part in parameters if part.startswith("q=")]
            found.append((exactness, _number(weights[0]) if weights else 1.0))
    return max(found)[1]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
