"""The real hub libraries against a small hub on this machine: listing, downloads, slices, streams.

`HF_ENDPOINT` is read when those libraries are imported, so each test starts a Python of its own.
"""

import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

CHECKOUT = Path(__file__).parents[2]
REPO = "openbmb/RLHF-V-Dataset"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROWS = 20


@dataclass
class Hub:
    """One repository: its files, and how often each was sent."""

    files: dict[str, bytes]
    port: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    broken: bool = False

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _entry(name: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


class _Server(http.server.ThreadingHTTPServer):
    hub: Hub


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        assert isinstance(self.server, _Server)
        return self.server.hub

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        names = urllib.parse.parse_qs(asked.decode()).get("paths") or (
            json.loads(asked)["paths"] if asked.startswith(b"{") else []
        )
        self.json([_entry(name, self.hub.files[name]) for name in names if name in self.hub.files])

    def answer(self, *, body: bool) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path.startswith(f"/datasets/{REPO}/resolve/"):
            self.file(path.removeprefix(f"/datasets/{REPO}/resolve/").partition("/")[2], body)
        elif path.startswith(f"/api/datasets/{REPO}/tree/"):
            folder = path.removeprefix(f"/api/datasets/{REPO}/tree/").partition("/")[2]
            names = [name for name in self.hub.files if name.startswith(folder)]
            self.json([_entry(name, self.hub.files[name]) for name in names])
        elif path in (f"/api/datasets/{REPO}", f"/api/datasets/{REPO}/revision/main") or (
            path == f"/api/datasets/{REPO}/revision/{COMMIT}"
        ):
            names = [{"rfilename": name} for name in self.hub.files]
            self.json({"id": REPO, "sha": COMMIT, "siblings": names, "tags": []})
        else:
            self.missing("RepoNotFound")

    def file(self, name: str, body: bool) -> None:
        if name not in self.hub.files:
            self.missing("EntryNotFound")
            return
        data = self.hub.files[name]
        first, last = 0, len(data) - 1
        if asked := self.headers.get("Range"):
            start, _, stop = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), min(last, int(stop) if stop else last)
        part = data[first : last + 1]
        self.send_response(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if body:
            self.hub.sent[name] += 1
            if self.hub.broken:
                self.wfile.write(part[: len(part) // 2])
                self.close_connection = True
            else:
                self.wfile.write(part)

    def json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def missing(self, code: str) -> None:
        self.send_response(HTTPStatus.NOT_FOUND)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _picture(number: int) -> bytes:
    """Smooth patches of light, different in every row: alike ones would stay on one side."""
    light = np.random.default_rng(number).integers(0, 256, (7, 7), dtype=np.uint8)
    stream = io.BytesIO()
    PIL.Image.fromarray(light).resize((64, 64), PIL.Image.Resampling.BICUBIC).save(stream, "PNG")
    return stream.getvalue()


def _table() -> bytes:
    rows = [
        {
            "ds_name": "RLHF-V",
            "image": {"bytes": _picture(number), "path": None},
            "text": json.dumps(
                {"question": f"What is {number}?", "chosen": "A cup.", "rejected": "A dog."}
            ),
            "idx": number,
        }
        for number in range(ROWS)
    ]
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


@pytest.fixture
def hub() -> Iterator[Hub]:
    found = Hub(files={"README.md": b"# A table\n", "RLHF-V-Dataset.parquet": _table()})
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.hub = found
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield found
        server.shutdown()


def run(hub: Hub, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    place = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "hf")}
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    mine = {"VLMTUNE_CACHE": str(folder / "cache"), "PYTHONPATH": str(CHECKOUT / "src")}
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return subprocess.run(
        [sys.executable, *words],
        cwd=CHECKOUT,
        env={**kept, **place, **quiet, **mine},
        capture_output=True,
        text=True,
        check=False,
    )


READ = """
import json, sys
from vlmtune.config import DataConfig, DatasetConfig, RunConfig
from vlmtune.data.training_sets import load_training_sets
from vlmtune.types import Stage

found = {}
for split, options in json.loads(sys.argv[1]):
    source = DatasetConfig(name="openbmb/RLHF-V-Dataset", split=split, options=options)
    data = DataConfig(datasets=[source], max_samples=None)
    sets = load_training_sets(RunConfig(stage=Stage.DPO, data=data))
    found[f"{split} {options}"] = [row.id for row in sets.read.examples]
    assert sets.evaluation is not None
    assert all(row.images[0].open().size == (64, 64) for row in sets.read.examples)
print(json.dumps(found))
"""


def test_a_table_is_downloaded_once_and_read_without_the_hub(hub: Hub, tmp_path: Path) -> None:
    command = ("scripts/download_datasets.py", "--datasets", "rlhf_v")
    done = run(hub, tmp_path, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"rlhf_v: rows train {ROWS}" in done.stdout
    assert (tmp_path / "cache/datasets/rlhf_v/complete.json").is_file()
    assert hub.sent == {"RLHF-V-Dataset.parquet": 1}
    again = run(hub, tmp_path, *command)
    assert "was there already" in again.stdout
    hub.files.clear()
    read = run(hub, tmp_path, "-c", READ, json.dumps([["train[:10]", {}]]))
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout)["train[:10] {}"] == [f"rlhf_v/{n}" for n in range(10)]
    assert hub.sent == {"RLHF-V-Dataset.parquet": 1}


def test_a_download_that_broke_is_finished_by_the_same_command(hub: Hub, tmp_path: Path) -> None:
    hub.broken = True
    command = ("scripts/download_datasets.py", "--datasets", "rlhf_v")
    done = run(hub, tmp_path, *command)
    assert done.returncode == 1, done.stdout
    assert "cannot be read from the Hugging Face hub" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "cache/datasets/rlhf_v/complete.json").exists()
    hub.broken = False
    done = run(hub, tmp_path, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    written = tmp_path / "cache/datasets/rlhf_v/RLHF-V-Dataset.parquet"
    assert written.read_bytes() == hub.files["RLHF-V-Dataset.parquet"]


def test_hub_slices_and_streams_give_the_same_rows(hub: Hub, tmp_path: Path) -> None:
    asked = [
        ["train[:25%]", {}],
        ["train[-5:]", {}],
        ["train[5:10]", {"stream": True}],
    ]
    done = run(hub, tmp_path, "-c", READ, json.dumps(asked))
    assert done.returncode == 0, done.stderr
    found = list(json.loads(done.stdout).values())
    # 25 % of 20 rows are 5.
    assert found == [
        [f"rlhf_v/{number}" for number in numbers]
        for numbers in (range(5), range(15, 20), range(5, 10))
    ]


def test_a_capped_download_reads_no_more_than_the_first_rows(hub: Hub, tmp_path: Path) -> None:
    done = run(
        hub, tmp_path, "scripts/download_datasets.py", "--datasets", "rlhf_v", "--max_samples", "3"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rlhf_v: rows train 3" in done.stdout
