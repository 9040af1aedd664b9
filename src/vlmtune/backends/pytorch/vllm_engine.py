"""vLLM's engine in this process, and the adapters it is given.

    engine = start(Serving(folder=..., rank=16))
    engine.adopt(Path("adapter"))      a PEFT folder; every one gets a new id
    engine.llm                         vLLM's LLM

A new id each time, because vLLM keeps adapters and cached prompts by name and number, and would
answer with the old ones.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmtune.backends.pytorch import vllm_settings
from vlmtune.backends.pytorch.vllm_draw import Ledger, drawing
from vlmtune.errors import BackendUnavailable, CheckpointError
from vlmtune.models.checkpoints import read_json

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Sizes that vLLM reserves for adapters."""
PICTURES = 4
"""Images of a prompt, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What an engine serves.

    Attributes:
        folder: Weights and processor.
        suppressed: Ids that are never drawn.
        dtype: "float32", "bfloat16" or "float16".
        device: "cuda" or "cpu", where the rest of the run computes.
        rows: Completions decoded side by side.
        memory_share: Share of the GPU's memory, weights included; counts on CUDA only.
        rank: Largest rank of an adapter; None serves none.
        pixels: Bounds of a picture's size, as the image processor has them; empty is the
            checkpoint's own.
        seed: vLLM's own, which decides nothing here.
        together: Several processes train, each with an engine of its own.
    """

    folder: Path
    suppressed: tuple[int, ...]
    dtype: str
    device: str
    rows: int = 64
    memory_share: float = 0.9
    rank: int | None = None
    pixels: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    together: bool = False


class Engine:
    """A started engine.

    Attributes:
        llm: vLLM's LLM.
        ledger: Where draws are ordered and read.
        adapter: What to pass as `lora_request`; None asks the weights alone.
    """

    def __init__(self, llm: Any, ledger: Ledger) -> None:
        self.llm = llm
        self.ledger = ledger
        self.adapter: Any = None
        self._count = 0

    def adopt(self, folder: Path) -> None:
        """Answer with an adapter from now on; the one before is forgotten.

        Args:
            folder: A PEFT folder; vLLM reads it now and not again.

        Raises:
            CheckpointError: If vLLM cannot take it.
        """
        from vllm.exceptions import VLLMError
        from vllm.lora.request import LoRARequest

        if self.adapter is not None:
            self.llm.llm_engine.remove_lora(self.adapter.lora_int_id)
        self._count += 1
        request = LoRARequest(f"adapter-{self._count}", self._count, str(folder))
        try:
            taken = self.llm.llm_engine.add_lora(request)
        except (VLLMError, ValueError, RuntimeError, KeyError, OSError) as error:
            raise CheckpointError(
                f"vLLM cannot take the adapter in {folder}: {_first_line(error)}; ask it without "
                "vLLM"
            ) from error
        if not taken:
            raise CheckpointError(f"vLLM did not take the adapter in {folder}; ask without vLLM")
        self.adapter = request


def adapter_rank(folder: Path) -> int:
    """Read the rank of an adapter that vLLM can serve.

    Raises:
        CheckpointError: If vLLM has no way to serve it.
    """
    found = read_json(folder / "adapter_config.json")
    reasons = {
        "use_dora": "DoRA, whose scale vLLM does not compute",
        "modules_to_save": "whole layers beside its low-rank ones",
        "alpha_pattern": "a scale of its own for some layers",
    }
    for key, what in reasons.items():
        if found.get(key):
            raise CheckpointError(
                f"the adapter in {folder} has {what}; ask it without vLLM, or merge it first"
            )
    ranks = [int(found["r"]), *map(int, (found.get("rank_pattern") or {}).values())]
    if max(ranks) > RANKS[-1]:
        raise CheckpointError(
            f"the adapter in {folder} has rank {max(ranks)}, and vLLM serves {RANKS[-1]} at most; "
            "ask it without vLLM, or merge it first"
        )
    return max(ranks)


def start(serving: Serving) -> Engine:
    """Start vLLM in this process.

    Raises:
        BackendUnavailable: If vLLM is not built for the device, or cannot start with this model
            or this memory.
    """
    os.environ.update(vllm_settings.environment())
    from vllm.exceptions import VLLMError
    from vllm.platforms import current_platform

    import vllm

    built_for = "cpu" if current_platform.is_cpu() else "cuda"
    if built_for != serving.device:
        raise BackendUnavailable(
            f"this vLLM computes on {built_for} and the run on {serving.device}; install the vLLM "
            "that was built for it, or do without vLLM"
        )
    ledger = Ledger(suppressed=serving.suppressed)
    try:
        llm = vllm.LLM(**_arguments(serving), logits_processors=[drawing(ledger)])
    except (VLLMError, ValueError, RuntimeError, OSError) as error:
        raise BackendUnavailable(
            f"vLLM cannot start with {serving.folder}: {_first_line(error)}; raise or lower "
            "hardware.vllm_gpu_memory_utilization if it is about memory, or do without vLLM"
        ) from error
    if serving.together:
        # When it goes, vLLM would end the group that all processes still talk through.
        llm.llm_engine.engine_core._finalizer.detach()
    return Engine(llm, ledger)


def _arguments(serving: Serving) -> dict[str, Any]:
    adapters = (
        {}
        if serving.rank is None
        else {
            "enable_lora": True,
            "max_loras": 1,
            "max_lora_rank": next(size for size in RANKS if size >= serving.rank),
        }
    )
    # Answers must not depend on what else is in the batch or was asked before.
    return {
        "model": str(serving.folder),
        "dtype": serving.dtype,
        "seed": serving.seed,
        "max_num_seqs": serving.rows,
        "gpu_memory_utilization": serving.memory_share,
        "enforce_eager": serving.device == "cpu",
        "async_scheduling": False,
        "distributed_executor_backend": "external_launcher" if serving.together else None,
        "limit_mm_per_prompt": {"image": PICTURES, "video": 0},
        "mm_processor_kwargs": {"size": dict(serving.pixels)} if serving.pixels else None,
        "logprobs_mode": "raw_logprobs",
        "generation_config": "vllm",
        "trust_remote_code": False,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        **adapters,
    }


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
