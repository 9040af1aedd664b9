"""Which device and which number format a run uses, and whether the device can train at all."""

import logging
from typing import Any

import torch

from vlmtune.backends.pytorch.choices import Device, Precision
from vlmtune.errors import BackendUnavailable

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(wanted: Device = "auto") -> str:
    """Choose where to compute: on a CUDA GPU where there is one, else on the CPU.

    Apple's GPU is taken only when it is asked for, since MLX is the better way there.

    Raises:
        BackendUnavailable: If the device that was asked for does not exist here.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return "cuda" if present["cuda"] else "cpu"
    if wanted != "cpu" and not present[wanted]:
        raise BackendUnavailable(
            f"device {wanted} was asked for and this machine has none that PyTorch "
            f"{torch.__version__} can use; set it to auto or cpu"
        )
    return wanted


def choose_dtype(wanted: Precision = "auto", *, device: str) -> torch.dtype:
    """Choose the number format of weights and computation.

    On its own it takes bfloat16 where the GPU has it, and float32 elsewhere: CPUs and Apple's GPUs
    compute 16-bit formats slowly or not at all in some layers.

    Raises:
        BackendUnavailable: If the GPU does not know the format that was asked for.
    """
    has_bfloat16 = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "auto":
        return torch.bfloat16 if has_bfloat16 else torch.float32
    if wanted == "bf16" and device == "cuda" and not has_bfloat16:
        raise BackendUnavailable("this GPU does not compute bf16; use fp32, or fp16 to save memory")
    return DTYPES[wanted]


def device_memory_gib(device: str) -> float | None:
    """Memory of a CUDA device in GiB; None elsewhere, where the machine's memory counts."""
    if device != "cuda":
        return None
    return float(torch.cuda.get_device_properties(0).total_memory) / 2**30


def warn_about_mps(network: Any) -> None:
    """Take one forward and backward step on Apple's GPU, then say what MPS is good for.

    Args:
        network: The model with its trainable weights, on device mps.

    Raises:
        BackendUnavailable: If the step fails or its gradient is not finite.
    """
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    ids = torch.zeros((1, 4), dtype=torch.int64, device="mps")
    try:
        logits = network(input_ids=ids, use_cache=False).logits
        logits.float().logsumexp(-1).mean().backward()
        finite = all(
            bool(torch.isfinite(weight.grad).all()) for weight in weights if weight.grad is not None
        )
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BackendUnavailable(
            f"this model cannot take a training step on mps: {reason}; use --mlx on this machine"
        ) from error
    network.zero_grad(set_to_none=True)
    if not finite:
        raise BackendUnavailable(
            "a training step on mps gives gradients that are not finite; use --mlx on this machine"
        )
    logging.getLogger("vlmtune").warning(
        "PyTorch on MPS is limited: slow, without 4-bit weights, and little tested; "
        "--mlx is the way to train on this machine"
    )
