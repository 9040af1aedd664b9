r"""Adapters in peft's layout: read, checked, written; with numpy alone, whichever engine trains.

adapter_config.json         {"peft_type": "LORA", "r": 16, "lora_alpha": 16, ...}
adapter_model.safetensors   base_model.model.<layer>.lora_A.weight   [rank, in]
                            base_model.model.<layer>.lora_B.weight   [out, rank]
                            base_model.model.<layer>.lora_magnitude_vector   [out], DoRA
                            base_model.model.<weight>                modules_to_save

output = W x + scale B A x,   scale = alpha / rank, or alpha / sqrt(rank) with rslora
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vlmtune.errors import CheckpointError
from vlmtune.models import layer_names, tensors
from vlmtune.models.checkpoints import read_json
from vlmtune.models.tensors import Array
from vlmtune.types import JSON

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
_LORA = re.compile(r"(.+)\.(lora_A|lora_B|lora_magnitude_vector)(?:\.\w+)*$")
_REFUSED: Mapping[str, JSON] = {
    "bias": ("none", None),
    "fan_in_fan_out": (False, None),
    "layer_replication": (None,),
    "lora_bias": (False, None),
    "target_parameters": (None, []),
    "trainable_token_indices": (None,),
    "use_qalora": (False, None),
    "use_bdlora": (None,),
    "alora_invocation_tokens": (None,),
    "arrow_config": (None,),
    "velora_config": (None,),
    "monteclora_config": (None,),
    "kasa_config": (None,),
}
"""Keys of peft's config whose effect is not carried over -> the values that mean "off"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    r"""What adapter_config.json says.

    Attributes:
        rank: Inner size.
        alpha: What the output is scaled by, together with the rank.
        dropout: Share of inputs dropped in training.
        targets: The layers: a regular expression of whole names, or last parts of names.
        dora: Whether layers have a magnitude.
        rslora: Whether the scale is alpha / sqrt(rank).
        base_model: Hub id or folder of the model below.
        whole: Modules that are trained whole and lie with the adapter.
        rank_pattern: Names of layers of another rank -> that rank.
        alpha_pattern: Names of layers of another alpha -> that alpha.
    """

    rank: int
    alpha: float
    dropout: float = 0.0
    targets: str | tuple[str, ...] = ()
    dora: bool = False
    rslora: bool = False
    base_model: str = ""
    whole: tuple[str, ...] = ()
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)

    def rank_of(self, layer: str) -> int:
        """Look up a layer's rank."""
        return int(_by_pattern(self.rank_pattern, layer, self.rank))

    def scale_of(self, layer: str) -> float:
        """Compute what a layer's B A x is multiplied by."""
        rank = self.rank_of(layer)
        alpha = _by_pattern(self.alpha_pattern, layer, self.alpha)
        return alpha / (math.sqrt(rank) if self.rslora else rank)


def _by_pattern(patterns: Mapping[str, float], layer: str, otherwise: float) -> float:
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", layer):
            return value
    return otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterLayer:
    """One layer's matrices.

    Attributes:
        a: float32 [rank, in].
        b: float32 [out, rank].
        magnitude: float32 [out], or None.
        scale: What B A x is multiplied by.
    """

    a: Array
    b: Array
    magnitude: Array | None
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An adapter in memory.

    Attributes:
        config: Its settings.
        layers: Layer, named as transformers 5 does -> its matrices.
        whole: Weight of a module trained whole -> its values.
    """

    config: AdapterConfig
    layers: Mapping[str, AdapterLayer]
    whole: Mapping[str, Array]


def is_adapter(folder: Path) -> bool:
    """Say whether a folder holds an adapter in peft's layout."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def read_config(folder: Path) -> AdapterConfig:
    """Read an adapter's settings.

    Raises:
        CheckpointError: If they are unreadable, or ask for what cannot be carried over.
    """
    path = folder / CONFIG
    found = read_json(path)
    kind = found.get("peft_type")
    if kind != "LORA":
        hint = "it is mlx-vlm's own layout" if "lora_parameters" in found else f"it is {kind}"
        raise CheckpointError(
            f"{path} is no LoRA of peft: {hint}; scripts/convert.py turns mlx-vlm's into peft's"
        )
    for key, off in _REFUSED.items():
        if key in found and found[key] not in off:
            raise CheckpointError(
                f"{path} has {key}: {found[key]!r}, which is not supported; merge the adapter with "
                "peft, and use the merged model"
            )
    targets = found.get("target_modules") or ()
    try:
        return AdapterConfig(
            rank=int(found["r"]),
            alpha=float(found["lora_alpha"]),
            dropout=float(found.get("lora_dropout") or 0.0),
            targets=targets if isinstance(targets, str) else tuple(sorted(targets)),
            dora=bool(found.get("use_dora")),
            rslora=bool(found.get("use_rslora")),
            base_model=str(found.get("base_model_name_or_path") or ""),
            whole=tuple(found.get("modules_to_save") or ()),
            rank_pattern=found.get("rank_pattern") or {},
            alpha_pattern=found.get("alpha_pattern") or {},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no complete LoRA config ({error!r}); copy the adapter again"
        ) from error


def read(folder: Path) -> Adapter:
    """Read an adapter.

    Raises:
        CheckpointError: If a file is missing or damaged, a layer is incomplete, or it asks for what
            cannot be carried over.
    """
    config = read_config(folder)
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(
            f"adapter {folder} has no {WEIGHTS}; save it again as safetensors: pickled weights run "
            "code when opened and are refused"
        )
    return assembled(config, tensors.read_floats(folder / WEIGHTS), where=folder)


def assembled(config: AdapterConfig, weights: Mapping[str, Array], *, where: Path) -> Adapter:
    """Sort weights under peft's names, of any version, into layers.

    Raises:
        CheckpointError: If a layer is incomplete or of another kind.
    """
    parts: dict[str, dict[str, Array]] = {}
    whole: dict[str, Array] = {}
    for key, value in weights.items():
        name = key.removeprefix(PREFIX)
        if "lora_embedding_" in name or name.endswith(("lora_A.bias", "lora_B.bias")):
            raise CheckpointError(
                f"adapter {where} has {key}: adapters of embeddings and biases in adapters are not "
                "supported; merge the adapter with peft, and use the merged model"
            )
        if found := _LORA.fullmatch(name):
            parts.setdefault(layer_names.canonical(found[1]), {})[found[2]] = value
        else:
            plain = name.replace(".modules_to_save.default", "").replace(".base_layer.", ".")
            whole[layer_names.canonical(plain)] = value
    layers = {
        name: _layer(name, found, config, where=where) for name, found in sorted(parts.items())
    }
    if not layers and not whole:
        raise CheckpointError(f"adapter {where} holds no weights; copy it again")
    return Adapter(config=config, layers=layers, whole=whole)


def _layer(
    name: str, parts: Mapping[str, Array], config: AdapterConfig, *, where: Path
) -> AdapterLayer:
    needed = ["lora_A", "lora_B", *(["lora_magnitude_vector"] if config.dora else [])]
    if missing := [part for part in needed if part not in parts]:
        raise CheckpointError(f"adapter {where} has no {name}.{missing[0]}; copy it again")
    a, b = parts["lora_A"], parts["lora_B"]
    rank = config.rank_of(name)
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != rank or b.shape[1] != rank:
        raise CheckpointError(
            f"adapter {where}: {name} has A {list(a.shape)} and B {list(b.shape)}, and its config "
            f"says rank {rank}; config and weights belong to different adapters"
        )
    return AdapterLayer(
        a=a, b=b, magnitude=parts.get("lora_magnitude_vector"), scale=config.scale_of(name)
    )


def write(adapter: Adapter, folder: Path) -> None:
    """Write an adapter that plain peft loads."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors.write(folder / WEIGHTS, peft_weights(adapter))
    write_config(adapter.config, folder)


def peft_weights(adapter: Adapter) -> dict[str, Array]:
    """Name an adapter's weights as peft does."""
    found = {f"{PREFIX}{name}": value for name, value in adapter.whole.items()}
    for name, layer in adapter.layers.items():
        found[f"{PREFIX}{name}.lora_A.weight"] = layer.a
        found[f"{PREFIX}{name}.lora_B.weight"] = layer.b
        if layer.magnitude is not None:
            found[f"{PREFIX}{name}.lora_magnitude_vector"] = layer.magnitude
    return found


def write_config(config: AdapterConfig, folder: Path) -> None:
    """Write adapter_config.json as peft reads it."""
    content = {
        "base_model_name_or_path": config.base_model or None,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "modules_to_save": list(config.whole) or None,
        "peft_type": "LORA",
        "r": config.rank,
        "rank_pattern": dict(config.rank_pattern),
        "alpha_pattern": dict(config.alpha_pattern),
        "target_modules": config.targets
        if isinstance(config.targets, str)
        else sorted(config.targets),
        "task_type": "CAUSAL_LM",
        "use_dora": config.dora,
        "use_rslora": config.rslora,
    }
    path = folder / CONFIG
    building = path.with_name(f".{path.name}.writing")
    building.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    building.replace(path)
