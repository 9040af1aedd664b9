"""In which numbers a loaded model is kept, and between which bounds its pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.nn.layers.linear import Linear
from mlx.nn.layers.quantized import quantize

from vlmtune.backends.mlx.loading import Loading
from vlmtune.errors import ConfigError

_DTYPES = {"fp32": mx.float32, "bf16": mx.bfloat16, "fp16": mx.float16}
_GROUPS = (64, 32)
"""Weights that share a scale, most first; a layer's width must be a multiple."""


def store(network: Any, loading: Loading, *, folder: Path) -> None:
    """Keep weights as `loading` says.

    Args:
        network: mlx-vlm's model, as it was stored.
        loading: The format.
        folder: Where it came from, for messages.

    Raises:
        ConfigError: If weights that are packed already were to be packed otherwise.
    """
    dtype = _DTYPES.get(loading.dtype)
    if dtype is None and not mx.metal.is_available():
        dtype = mx.float32
    if dtype is not None:
        network.set_dtype(dtype)
    packed = {module.bits for module in network.modules() if hasattr(module, "bits")}
    if loading.bits is None or packed == {loading.bits}:
        return
    if packed:
        raise ConfigError(
            f"model.quantization: {loading.bits}bit, and the weights in {folder} are packed in "
            f"{' and '.join(map(str, sorted(packed)))} bits already; leave it out, or name the "
            "float checkpoint"
        )
    # Embeddings, head and vision tower keep their numbers: their errors reach every token.
    for layer in network.language_model.model.layers:
        for group in _GROUPS:
            quantize(layer, group_size=group, bits=loading.bits, class_predicate=_fits(group))


def _fits(group: int) -> Callable[[str, Any], bool]:
    def fits(_: str, module: Any) -> bool:
        """Tell whether a layer's width can be packed in groups of this size."""
        return isinstance(module, Linear) and module.weight.shape[1] % group == 0

    return fits


def bound_pictures(image_processor: Any, loading: Loading) -> None:
    """Replace the model's own bounds on the number of pixels.

    Raises:
        ConfigError: If this model's processor knows no such bounds, or they contradict each other.
    """
    wanted = {"min_pixels": loading.min_pixels, "max_pixels": loading.max_pixels}
    wanted = {name: pixels for name, pixels in wanted.items() if pixels is not None}
    if not wanted:
        return
    if not all(hasattr(image_processor, name) for name in ("min_pixels", "max_pixels")):
        raise ConfigError(
            "model.min_pixels and model.max_pixels cannot be used: this model's pictures have "
            "fixed sizes; leave both out"
        )
    for name, pixels in wanted.items():
        setattr(image_processor, name, pixels)
    least, most = image_processor.min_pixels, image_processor.max_pixels
    if least > most:
        raise ConfigError(
            f"model.min_pixels {least} is more than model.max_pixels {most}; the model's own "
            "bounds count where one is not set"
        )
