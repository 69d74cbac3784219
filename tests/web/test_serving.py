"""`effiseg serve`: answers, limits, refusals, signals."""

from __future__ import annotations

import http.client
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from effiseg.commands.serve import run as serve
from effiseg.config.web import ServeConfig
from effiseg.data.transforms import UInt8Array
from effiseg.errors import Interrupted, UsageError
from effiseg.inference.predictor import Predictor
from effiseg.inference.segmentation import Segmentation
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.serving.guard import Guard, host_name

FastAPI = pytest.importorskip("fastapi").FastAPI
pytest.importorskip("uvicorn")
from effiseg.serving.server import ended_by_signal, make_server  # noqa: E402

SIZE = (90, 130)


def png(size: tuple[int, int] = SIZE) -> bytes:
    """A picture of noise."""
    return encoded(np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8))


def blank(size: tuple[int, int]) -> bytes:
    """A picture of few bytes."""
    return encoded(np.zeros((*size, 3), np.uint8))


def encoded(image: UInt8Array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def ask(
    port: int, method: str = "POST", path: str = "/predict", body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One request, its status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


class Slow:
    """A model that waits until it is let go."""

    def __init__(self) -> None:
        self.go, self.calls = threading.Event(), 0

    def __call__(self, image: UInt8Array) -> Segmentation:
        self.calls += 1
        assert self.go.wait(20)
        return Segmentation(np.zeros(image.shape[:2], np.uint8), image, ("a", "b"), ((0, 0, 0), (1, 1, 1)))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the place of the page's, and a file beside it that is none of its own."""
    folder = tmp_path_factory.mktemp("server") / "page"
    (folder / "ort").mkdir(parents=True)
    (folder / "index.html").write_text("<p>page")
    (folder / "ort" / "runtime.mjs").write_text("export {};")
    (folder.parent / "secret.txt").write_text("secret")
    return folder


@pytest.fixture(scope="module")
def server(trained_pair: list[SegFormer], page: Path, running: Callable[..., Any]) -> Iterator[int]:
    with running(Predictor(trained_pair[0]), page, max_bytes=60_000, max_pixels=20_000) as found:
        yield found.port


def test_labels_and_areas(server: int, trained_pair: list[SegFormer]) -> None:
    expected = Predictor(trained_pair[0])(np.asarray(Image.open(io.BytesIO(png()))))
    status, headers, body = ask(server, body=png(), Content_Type="image/png")
    assert (status, headers["content-type"]) == (200, "image/png")
    labels = np.asarray(Image.open(io.BytesIO(body)))
    assert labels.dtype == np.uint8
    assert (labels == expected.labels).all()
    status, headers, body = ask(server, body=png(), Accept="application/json")
    value = json.loads(body)
    assert (status, value["height"], value["width"], value["model"]) == (200, *SIZE, "model")
    assert value["areas"] == expected.areas()
    assert value["milliseconds"] > 0


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "image/png"),
        ("image/*", "image/png"),
        ("text/html", "image/png"),
        ("application/json, */*;q=0.1", "application/json"),
        ("application/json;q=0.2, image/png", "image/png"),
        ("application/json;q=x", "image/png"),
    ],
)
def test_accept(server: int, accept: str, kind: str) -> None:
    assert ask(server, body=png((8, 8)), Accept=accept)[1]["content-type"] == kind


@pytest.mark.parametrize(
    ("body", "headers", "status", "line"),
    [
        (b"", {}, 400, "the body must be an image file; found none"),
        (png()[:300], {}, 400, "the request's body: image cannot be read"),
        (b"no image at all", {}, 415, "the request's body: not an image that Pillow can decode"),
        (png(), {"Content_Type": "text/plain"}, 415, "of type image/* or application/octet-stream; found text/plain"),
        (png(), {"Content_Type": "multipart/form-data; boundary=x"}, 415, "found multipart/form-data"),
        (bytes(60_001), {}, 413, "a picture has at most 60000 bytes; found more"),
        (blank((100, 201)), {}, 413, "at most 20000 pixels are decoded; found more (100x201); reduce or cut the image"),
    ],
)
def test_what_cannot_be_labeled_is_one_line(
    server: int, body: bytes, headers: dict[str, str], status: int, line: str
) -> None:
    found, given, text = ask(server, body=body, **headers)
    assert (found, given["content-type"]) == (status, "text/plain; charset=utf-8")
    assert line in text.decode()
    assert text.count(b"\n") == 1
    assert "EFFISEG_MAX_PIXELS" not in text.decode()


def test_a_body_without_a_length_is_counted(server: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server, timeout=30)
    connection.request("POST", "/predict", iter([bytes(40_000)] * 3), {}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_files_of_the_page_and_no_others(server: int) -> None:
    status, headers, body = ask(server, "GET", "/")
    assert (status, body) == (200, b"<p>page")
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert not any(name.startswith("access-control") for name in headers)
    assert ask(server, "GET", "/ort/runtime.mjs")[1]["content-type"].startswith("text/javascript")
    for path in ("/../secret.txt", "/..%2fsecret.txt", "/ort/../../secret.txt", "/secret.txt", "/docs", "/ort"):
        assert ask(server, "GET", path)[0] == 404, path
    assert ask(server, "DELETE", "/")[0] == 405
    status, _, body = ask(server, "GET", "/healthz")
    assert (status, json.loads(body)["status"], json.loads(body)["in_work"]) == (200, "ok", 0)


def test_a_stranger_s_name_for_the_server_is_refused(server: int) -> None:
    for host in ("evil.example", f"evil.example:{server}", "127.0.0.1.evil.example", ""):
        status, headers, body = ask(server, "GET", "/healthz", Host=host)
        assert (status, body) == (400, b"the Host of this request is none of this server's names\n"), host
        assert not any(name.startswith("access-control") for name in headers)
    assert ask(server, "GET", "/healthz", Host="127.0.0.1")[0] == 200
    assert [host_name(f"//{host}") for host in ("[::1]:80", "LOCALHOST", "a:b:c", "[")] == ["::1", "localhost", "a", ""]


def test_a_stranger_s_page_cannot_make_it_work(server: int) -> None:
    """A page may send a picture without a type anywhere, and is kept from the answer alone."""
    for origin in ("https://evil.example", "http://127.0.0.1.evil.example", "null", ""):
        status, _, body = ask(server, body=png((8, 8)), Origin=origin)
        assert (status, body) == (403, b"this request comes from a page of another site\n"), origin
    assert ask(server, body=png((8, 8)), Origin=f"http://127.0.0.1:{server}")[0] == 200


def test_more_requests_than_places_are_refused_until_one_is_free(page: Path, running: Callable[..., Any]) -> None:
    model = Slow()
    with running(model, page, concurrency=2, timeout=20) as server:
        found: list[int] = []
        waiting = [
            threading.Thread(target=lambda: found.append(ask(server.port, body=png((8, 8)))[0])) for _ in range(2)
        ]
        for thread in waiting:
            thread.start()
        until(lambda: json.loads(ask(server.port, "GET", "/healthz")[2])["in_work"] == 2)
        status, headers, body = ask(server.port, body=png((8, 8)))
        assert (status, headers["retry-after"]) == (503, "1")
        assert body == b"2 requests are being answered already; try again\n"
        model.go.set()
        for thread in waiting:
            thread.join()
        assert found == [200, 200]
        assert ask(server.port, body=png((8, 8)))[0] == 200


def test_what_takes_too_long_is_given_up_and_keeps_its_place_until_it_has_ended(
    page: Path, running: Callable[..., Any]
) -> None:
    model = Slow()
    with running(model, page, concurrency=1, timeout=0.3) as server:
        status, _, body = ask(server.port, body=png((8, 8)))
        assert (status, body) == (504, b"no answer within 0.3 seconds\n")
        assert ask(server.port, body=png((8, 8)))[0] == 503
        model.go.set()
        until(lambda: json.loads(ask(server.port, "GET", "/healthz")[2])["in_work"] == 0)
        assert ask(server.port, body=png((8, 8)))[0] == 200
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nslow")
        assert connection.recv(100).startswith(b"HTTP/1.1 504 ")
        connection.close()
        calls = model.calls
        assert calls == 2


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; a minute is for a machine that does much else."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--port", "70000"], "port must be at least 0 and at most 65535; found 70000"),
        (["--timeout", "0"], "timeout must be greater than 0"),
        (["--concurrency", "0"], "concurrency must be at least 1"),
        (["--host", "0.0.0.0"], "--host 0.0.0.0 listens everywhere; say with --allowed_hosts"),
        (["--host", ""], "--host: give a name or an address, without port and path; found ''"),
        (["--allowed_hosts", "box:8000"], "--allowed_hosts: give a name or an address, .* found 'box:8000'"),
        (["b", "c"], "the page shows one or two models; found 3"),
    ],
)
def test_settings_that_cannot_be(words: list[str], line: str) -> None:
    with pytest.raises(UsageError, match=line):
        serve(["a", *words])


def test_a_taken_port_is_one_line(built_page: None, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=rf"^127\.0\.0\.1: port {port} is taken; choose another with --port"):
            serve(["nowhere", "--port", str(port)])


def test_a_signal_before_the_server_listens_to_signals_ends_it() -> None:
    server = make_server(Guard(FastAPI(), ["127.0.0.1"]), ServeConfig(models=["model"]))
    before = signal.getsignal(signal.SIGTERM)
    with ended_by_signal() as ready:
        with pytest.raises(Interrupted, match="ended before it served"):
            signal.raise_signal(signal.SIGTERM)
        ready(server)
        signal.raise_signal(signal.SIGTERM)
        assert server.should_exit
    assert signal.getsignal(signal.SIGTERM) is before


# The command, but for the export, which test_page.py waits for already.
_COMMAND = """
import shutil, sys
import effiseg.serving.server as server
from effiseg.cli import main
site = sys.argv.pop(1)
server.write_site = lambda models, names, config, message: shutil.copytree(site, config.out)
sys.exit(main(sys.argv[1:]))
"""


def test_the_command_serves_until_sigterm(trained_pair: list[SegFormer], site: Path, tmp_path: Path) -> None:
    save_pretrained(trained_pair[1], tmp_path / "student")
    words = ["-c", _COMMAND, str(site), "serve", str(tmp_path / "student"), "--port", "0"]
    process = subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("serving student at http://127.0.0.1:"))
        port = int(line.split(":")[2].split("/")[0])
        assert ask(port, body=png())[0] == 200
        assert json.loads(ask(port, "GET", "/models.json")[2])["models"][1]["name"] == "student"
        assert ask(port, "GET", "/model-1.onnx")[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
