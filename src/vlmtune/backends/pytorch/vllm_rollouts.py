"""GRPO's completions from vLLM, in this process or a server: the adapter alone is handed over.

TRL merges the adapter into the weights and sends all of them, which rounds it away in 4-bit
weights and moves gigabytes. vLLM holds the base model once; before a rollout whose adapter has
changed it gets the adapter as a PEFT folder in memory-backed storage where there is some.
"""

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vlmtune.backends.pytorch import processes
from vlmtune.backends.pytorch.export import save
from vlmtune.backends.pytorch.inputs import Speech
from vlmtune.backends.pytorch.model import LoadedModel
from vlmtune.backends.pytorch.tuning import ADAPTER
from vlmtune.backends.pytorch.vllm_engine import Engine, Serving, start
from vlmtune.backends.pytorch.vllm_generate import Progress, VllmGenerator
from vlmtune.backends.pytorch.vllm_server import ServedGenerator, Server
from vlmtune.config import RunConfig
from vlmtune.protocols import Generator
from vlmtune.types import Completion, Encoded, Prompt, Sampling

MEMORY = Path("/dev/shm")
"""Files here never reach a disk."""
DIFFERENCE = "sampling/sampling_logp_difference"
"""What TRL calls the difference of a token's log-probability in vLLM and in the trainer."""
DRIFT = 0.05
"""Mean difference of log-probabilities above which vLLM and the trainer are not the same model."""

_log = logging.getLogger("vlmtune")


class Rollouts:
    """The `Generator` of a policy that trains, drawn by vLLM.

    Attributes:
        model: The trained model.
        told: Numbers about the last hand-over, since `take_told` was last called.
    """

    def __init__(self, loaded: LoadedModel, engine: Engine | Server, generator: Generator) -> None:
        self.model = loaded.info
        self.told: dict[str, float] = {}
        self._loaded = loaded
        self._engine = engine
        self._generator = generator
        self._handed: dict[str, torch.Tensor] = {}
        self._warned = False

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, *, progress: Progress | None = None
    ) -> list[list[Completion]]:
        """Hand the adapter over if it has changed, and draw."""
        self.hand_over()
        return self._generator.generate(prompts, sampling, progress=progress)

    def encode(self, prompt: Prompt, target: str) -> Encoded:
        """Tokenise a prompt and a target answer as training would."""
        return self._generator.encode(prompt, target)

    def score(self, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[tuple[float, ...]]:
        """Hand the adapter over if it has changed, and score."""
        self.hand_over()
        return self._generator.score(prompts, targets)

    def hand_over(self) -> bool:
        """Give vLLM the adapter as it is now, unless it has that one.

        Returns:
            Whether there was a new one.
        """
        weights = adapter_weights(self._loaded)
        if self._handed and all(torch.equal(self._handed[name], weights[name]) for name in weights):
            return False
        started = time.perf_counter()
        folder = Path(tempfile.mkdtemp(prefix="vlmtune-adapter-", dir=_place()))
        try:
            save(self._loaded, folder)
            size = sum(path.stat().st_size for path in folder.iterdir())
            self._engine.adopt(folder)
        finally:
            shutil.rmtree(folder)
        self._handed = {name: weight.clone() for name, weight in weights.items()}
        self.told = {
            "vllm/sync_seconds": time.perf_counter() - started,
            "vllm/sync_megabytes": size / 1e6,
        }
        return True

    def watch(self, metrics: Mapping[str, Sequence[float]]) -> None:
        """Say once when vLLM and the trainer give the same answers unlike probabilities.

        Args:
            metrics: TRL's, which has just compared them.
        """
        mean = metrics[f"{DIFFERENCE}/mean"][-1]
        if mean > DRIFT and not self._warned:
            self._warned = True
            _log.warning(
                "vLLM and the trainer differ by %.3f in the log-probability of a token, %.3f at "
                "most; more than %.2f means that they are not the same model: compare their number "
                "formats (model.dtype, training.precision), or set hardware.use_vllm: false",
                mean,
                metrics[f"{DIFFERENCE}/max"][-1],
                DRIFT,
            )

    def take_told(self) -> dict[str, float]:
        """Read what is to be told, once."""
        told, self.told = self.told, {}
        return told


def adapter_weights(loaded: LoadedModel) -> dict[str, torch.Tensor]:
    """Find the weights of the adapter that trains."""
    return {
        name: weight.detach()
        for name, weight in loaded.network.named_parameters()
        if "lora_" in name and f".{ADAPTER}." in name
    }


def colocated(loaded: LoadedModel, config: RunConfig) -> Rollouts:
    """Start vLLM beside the trainer, with the weights that it trains an adapter on.

    Raises:
        BackendUnavailable: If vLLM cannot start.
    """
    hardware, model = config.hardware, config.model
    bounded = model.min_pixels is not None or model.max_pixels is not None
    with served_folder(loaded) as folder:
        engine = start(
            Serving(
                folder=folder,
                suppressed=loaded.suppressed,
                dtype=str(loaded.base.dtype).rpartition(".")[2],
                device=loaded.device,
                rows=hardware.generation_batch_size,
                memory_share=hardware.vllm_gpu_memory_utilization,
                rank=_rank(loaded.network.peft_config[ADAPTER]),
                pixels=dict(loaded.reader.processor.image_processor.size) if bounded else {},
                seed=config.seed,
                together=processes.team().size > 1,
            )
        )
    return Rollouts(loaded, engine, VllmGenerator(engine, _speech(loaded), loaded.info))


def served(loaded: LoadedModel, config: RunConfig) -> Rollouts:
    """Join a running server.

    Raises:
        BackendUnavailable: If nobody answers, or draws otherwise.
    """
    assert config.hardware.vllm_server_url is not None  # config_rules.py asks for it
    server = Server(config.hardware.vllm_server_url)
    generator = ServedGenerator(
        server, _speech(loaded), loaded.info, rows=config.hardware.generation_batch_size
    )
    return Rollouts(loaded, server, generator)


def _speech(loaded: LoadedModel) -> Speech:
    return Speech(reader=loaded.reader, end_ids=loaded.end_ids, suppressed=loaded.suppressed)


def _base_folder(loaded: LoadedModel) -> Path:
    """Find the folder of the weights below the adapter: merged ones have their own."""
    named = Path(str(loaded.base.name_or_path))
    return named if named.is_dir() else Path(loaded.info.path)


@contextmanager
def served_folder(loaded: LoadedModel) -> Iterator[Path]:
    """Offer the weights that the trainer computes with, in a format that vLLM reads.

    vLLM reads no bitsandbytes weights. What a 4-bit layer multiplies with are the numbers that its
    codes stand for, so those numbers are written out and served; the adapter on them is untouched.
    """
    folder = _base_folder(loaded)
    rounded = {
        name.replace(".base_layer", ""): module
        for name, module in loaded.base.named_modules()
        if hasattr(getattr(module, "weight", None), "quant_state")
    }
    if not rounded:
        yield folder
        return
    import bitsandbytes
    import transformers

    plain = transformers.AutoModelForImageTextToText.from_pretrained(
        folder, dtype=loaded.base.dtype
    )
    with torch.no_grad():
        for name, module in rounded.items():
            # bitsandbytes packs codes anew when a CPU first computes with them; that comes later.
            assert not getattr(module.weight.quant_state, "packing_format_for_cpu", False)
            numbers = bitsandbytes.functional.dequantize_4bit(
                module.weight.data, module.weight.quant_state
            )
            plain.get_submodule(name).weight.copy_(numbers)
    with tempfile.TemporaryDirectory(prefix="vlmtune-served-") as name:
        plain.save_pretrained(name)
        loaded.reader.processor.save_pretrained(name)
        del plain
        yield Path(name)


def _rank(adapter: Any) -> int:
    return max([int(adapter.r), *map(int, (adapter.rank_pattern or {}).values())])


def _place() -> Path | None:
    return MEMORY if MEMORY.is_dir() else None
