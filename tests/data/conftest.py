"""A cache of its own for every test, and a web server that misbehaves in every way we know."""

import gzip
import io
import json
import socketserver
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from vlmtune.config import DataConfig, DatasetConfig, RunConfig
from vlmtune.data.load import load_examples
from vlmtune.types import Stage


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VLMTUNE_CACHE", str(folder))
    return folder


def png(colour: str = "red", size: tuple[int, int] = (8, 6)) -> bytes:
    stream = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def jpeg() -> bytes:
    stream = io.BytesIO()
    PIL.Image.linear_gradient("L").convert("RGB").save(stream, "JPEG")
    return stream.getvalue()


@dataclass
class Web:
    """The server: where it is and what it was asked."""

    port: int
    asked: Counter[str] = field(default_factory=Counter)
    headers: list[str] = field(default_factory=list)

    def at(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"


def reply(body: bytes, *, kind: str = "image/png", more: str = "", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def answers(web: Web) -> dict[str, bytes]:
    picture = png()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
    moved = "302 Found"

    def to(target: str) -> bytes:
        return reply(b"", status=moved, more=f"Location: {target}\r\n")

    return {
        "good": reply(picture),
        "good/2": reply(png("blue")),
        "untyped": b"HTTP/1.1 200 OK\r\n\r\n" + picture,
        "octets": reply(picture, kind="application/octet-stream"),
        "gone": reply(b"<h1>gone</h1>", kind="text/html", status="404 Not Found"),
        "forbidden": reply(b"no", status="403 Forbidden"),
        "broken": reply(b"sorry", status="500 Internal Server Error"),
        "busy": reply(b"", status="429 Too Many Requests", more="Retry-After: 7\r\n"),
        "html": reply(b"<html>not here any more</html>", kind="text/html; charset=utf-8"),
        "lie": reply(b"<html>an error page</html>"),
        "cut": reply(picture)[:-20],
        "cut/jpeg": reply(jpeg()[:900], kind="image/jpeg"),
        "chunk": head + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + picture,
        "empty": reply(b""),
        "huge": head + b"Content-Length: 10000000000\r\n\r\n" + b"\0" * 4096,
        "gzip": reply(gzip.compress(b"\0" * 10_000_000), more="Content-Encoding: gzip\r\n"),
        "bomb": reply(png(size=(6000, 6000))),
        "private": to("http://10.0.0.1/secret"),
        "metadata": to("http://169.254.169.254/latest/meta-data/"),
        "file": to("file:///etc/passwd"),
        "moved": to("/good"),
        "spaced": to("/go%6Fd?a b"),
        "loop": to("/loop"),
        "nowhere": reply(b"", status=moved),
        "noise": b"\x16\x03\x01 what is this?\r\n\r\n",
        "header": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        "": b"",
    }


def _handler(web: Web) -> type[socketserver.BaseRequestHandler]:
    scripted = answers(web)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked = b""
            try:
                while b"\r\n\r\n" not in asked and (piece := self.request.recv(4096)):
                    asked += piece
            except OSError:
                # No handshake came about: the client trusts nobody here.
                return
            path = asked.decode("latin-1").split(" ")[1].lstrip("/").partition("?")[0]
            web.asked[path] += 1
            web.headers.append(asked.decode("latin-1"))
            try:
                self.act(path.replace("%6F", "o"))
            except OSError:
                # The client hung up, which is what most of these tests want.
                return

        def act(self, path: str) -> None:
            if path == "hang":
                self.request.recv(1)
            elif path == "endless":
                self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")
                while True:
                    self.request.sendall(b"\0" * 65536)
            elif path in ("drip", "drip/header"):
                head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
                self.request.sendall(head + (b"\r\n" + png() if path == "drip" else b"X: "))
                while True:
                    self.request.sendall(b"a")
                    time.sleep(0.02)
            elif path == "again" and web.asked["again"] < 3:
                self.request.sendall(scripted["broken"])
            else:
                self.request.sendall(scripted["good" if path == "again" else path])

    return Handler


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    block_on_close = False
    encryption: ssl.SSLContext | None = None

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self.encryption is not None:
            # The handshake is left to the first read, which happens in the connection's own thread.
            connection = self.encryption.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address


@contextmanager
def _serving(encryption: ssl.SSLContext | None = None) -> Iterator[Web]:
    found = Web(port=0)
    with _Server(("127.0.0.1", 0), _handler(found)) as server:
        server.encryption = encryption
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield found
        server.shutdown()


@pytest.fixture
def web() -> Iterator[Web]:
    with _serving() as found:
        yield found


@pytest.fixture
def certificates() -> Path:
    return Path(__file__).parent / "certificates"


@pytest.fixture
def secure_web(certificates: Path) -> Iterator[Web]:
    """The same server behind TLS, with a certificate for pictures.example."""
    encryption = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    encryption.load_cert_chain(certificates / "server.pem")
    with _serving(encryption) as found:
        yield found


@pytest.fixture
def between() -> Callable[..., str]:
    return _between


def _between(folder: Path, lines: bytes, *, stage: str = "sft", good: Any = None) -> str:
    """Load a bad line between two good ones; give the reason of the one skip."""
    path = folder / "rows.jsonl"
    line = json.dumps(good or {"prompt": "Good?", "answer": "A"}).encode()
    path.write_bytes(line + b"\n" + lines + b"\n" + line + b"\n")
    data = DataConfig(datasets=[DatasetConfig(name=str(path))], max_samples=None)
    report = load_examples(RunConfig(stage=Stage(stage), data=data)).report
    assert (report.kept, report.skipped) == (2, 1)
    skipped = report.sources[0].first[0]
    assert skipped.row in ("rows.jsonl line 2", "rows/000002") or skipped.row.startswith("<|")
    assert "\n" not in skipped.reason
    assert len(skipped.reason) < 1000
    return skipped.reason
