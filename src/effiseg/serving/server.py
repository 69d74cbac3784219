"""From settings to a running server: the port first, then the models, then requests until a signal ends them."""

from __future__ import annotations

import errno
import math
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn

from effiseg.config.web import ServeConfig, SiteConfig
from effiseg.errors import Interrupted, UsageError
from effiseg.inference.predictor import Predictor
from effiseg.models.segformer import SegFormer
from effiseg.serving.app import build_app
from effiseg.serving.guard import Guard
from effiseg.serving.labeling import Labeler
from effiseg.web.site import write_site

_MOST_CONNECTIONS = 200
_IDLE_SECONDS = 5
_LOCAL_NAMES = ["localhost", "127.0.0.1", "::1"]


def serve(
    load: Callable[[], Sequence[SegFormer]],
    names: Sequence[str],
    config: ServeConfig,
    message: Callable[[str], object] = print,
) -> None:
    """Serve until a signal comes; what is being answered then is answered first.

    Args:
        load: gives the models, on the CPU; called when the port is known to be free.
        names: what page and answers call them.
        config: address, limits and the rest.
        message: told what is being done, a line each; the last one has the page's address.

    Raises:
        UsageError: the port is taken, the address is not this machine's, or what `write_site` raises.
        Interrupted: a signal to end came before the server was ready.
    """
    with listening(config.host, config.port) as door, ended_by_signal() as ready:
        models = load()
        predictor = Predictor(models[0], device=config.device, image_size=config.image_size)
        with tempfile.TemporaryDirectory(prefix="effiseg-serve-") as folder:
            site = Path(folder) / "site"
            write_site(models, names, SiteConfig(models=config.models, out=site, image_size=config.image_size), message)
            page = {file.relative_to(site).as_posix(): file for file in site.rglob("*") if file.is_file()}
            labeler = Labeler(predictor, names[0], config.max_pixels)
            hosts = [*_LOCAL_NAMES, config.host, *(config.allowed_hosts or [])]
            server = make_server(build_app(labeler, page, config, hosts), config)
            ready(server)
            host = f"[{config.host}]" if ":" in config.host else config.host
            message(f"serving {' and '.join(names)} at http://{host}:{door.getsockname()[1]}/ (Ctrl-C ends)")
            server.run(sockets=[door])


def make_server(app: Guard, config: ServeConfig) -> uvicorn.Server:
    """A server of an application that answers nothing but HTTP, and says nothing but warnings."""
    settings = uvicorn.Config(
        app,
        log_level="warning", server_header=False, ws="none", lifespan="off", limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS, timeout_graceful_shutdown=math.ceil(config.timeout),
    )  # fmt: skip
    return uvicorn.Server(settings)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; who calls before there is an answer waits.

    Raises:
        UsageError: the port is taken, may not be had, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: f"port {port} is taken; choose another with --port, or 0 for any that is free",
            errno.EACCES: f"port {port} may not be had; choose one from 1024 on with --port",
        }
        reason = reasons.get(error.errno or 0, f"cannot listen there ({error.strerror or error})")
        raise UsageError(f"{host}: {reason}") from None


@contextmanager
def ended_by_signal() -> Iterator[Callable[[uvicorn.Server], None]]:
    """Make an error of SIGTERM until the function that is yielded is told the server; from then on it ends the server.

    Uvicorn takes the signal over while it runs, and sends it once more when it has ended, which changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda server: None
        return
    servers: list[uvicorn.Server] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if not servers:
            raise Interrupted("ended before it served", number)
        servers[0].should_exit = True

    before = signal.signal(signal.SIGTERM, receive)
    try:
        yield servers.append
    finally:
        signal.signal(signal.SIGTERM, before)
