"""A loaded model with weights that train: which they are, how fast they move, how they are kept.

A weight that trains has mlx-vlm's name: "language_model.model.layers.0.self_attn.q_proj.lora_a".
What trains is what MLX does not call frozen, so gradient checkpointing finds the same weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten

from vlmtune.backends.choices import Rates, rates
from vlmtune.backends.mlx import adapted, adapter_values, whole_weights
from vlmtune.backends.mlx.model import LoadedModel
from vlmtune.backends.mlx.optimizer import Pace, Weights
from vlmtune.backends.targets import Part, part_of
from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError
from vlmtune.models import layer_names
from vlmtune.models.adapters import AdapterConfig
from vlmtune.types import ModelFamily

_ADAPTER_LEAVES = ("lora_a", "lora_b", "magnitude")


@dataclass(slots=True, kw_only=True)
class Learner:
    """What the training loop moves.

    Attributes:
        loaded: The model, adapted where an adapter trains.
        family: Facts about its architecture.
        adapter: The adapter's settings, or None where the weights themselves train.
        base: What adapters should call the model below: a hub id, or a folder.
        folder: Where the model below was read.
    """

    loaded: LoadedModel
    family: ModelFamily
    adapter: AdapterConfig | None
    base: str
    folder: Path
    _names: tuple[str, ...] = ()
    _started: Weights = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note which weights train and what they are before the first update."""
        self._started = dict(tree_flatten(self.network.trainable_parameters()))
        self._names = tuple(self._started)
        if not self._names:
            raise ConfigError(
                "no weight would train: vision, projector and language are all frozen; set one of "
                "model.freeze_vision, model.freeze_projector, model.freeze_language to false"
            )
        mx.eval(self._started)

    @property
    def network(self) -> Any:
        """mlx-vlm's model."""
        return self.loaded.network

    def weights(self) -> Weights:
        """The weights that train, as they are now, by name."""
        now: Weights = dict(tree_flatten(self.network.parameters()))
        return {name: now[name] for name in self._names}

    def put(self, weights: Weights) -> None:
        """Give weights new values."""
        self.network.update(tree_unflatten(list(weights.items())))

    @contextmanager
    def as_started(self) -> Iterator[None]:
        """Compute with the model that the run began with: the reference of DPO and of GRPO's KL.

        A new adapter adds nothing yet, so this is the model below; an adapter that is continued is
        its own reference. Nothing is loaded a second time.
        """
        now = self.weights()
        self.put(self._started)
        try:
            yield
        finally:
            self.put(now)

    def paces(self, config: RunConfig) -> dict[str, Pace]:
        """Say how fast each weight moves. Matrices decay; biases, norms and vectors do not.

        Raises:
            ConfigError: If a rate is set for weights that do not train.
        """
        wanted = rates(config)
        kinds = {name: self._kind(name) for name in self._names}
        wanted.refuse_idle(set(kinds.values()))
        decay = config.training.weight_decay
        return {
            name: _pace(wanted, *kinds[name], decay=decay if weight.ndim > 1 else 0.0)
            for name, weight in self._started.items()
        }

    def leading_rate(self, config: RunConfig) -> float:
        """The peak rate that metrics report, where parts have their own: the first by name."""
        part, adapter = min(self._kind(name) for name in self._names)
        return rates(config).of(part, adapter=adapter)

    def _kind(self, name: str) -> tuple[Part, bool]:
        adapter = name.rpartition(".")[2] in _ADAPTER_LEAVES
        return part_of(layer_names.canonical(name), self.family), adapter

    def counts(self) -> tuple[int, int]:
        """Count the weights that train, and all of the model's."""
        trained = sum(weight.size for weight in self._started.values())
        extra = trained if self.adapter is not None else 0
        return trained, self.loaded.info.parameters + extra

    def write(self, folder: Path) -> None:
        """Write the adapter in peft's layout, or all weights in transformers'."""
        if self.adapter is None:
            whole_weights.write(self.network, source=self.folder, folder=folder)
        else:
            adapted.save_adapter(self.network, self.adapter, folder, base_model=self.base)

    def read(self, folder: Path) -> None:
        """Take the values that `write` left, bit by bit.

        Raises:
            CheckpointError: If they do not fit.
        """
        if self.adapter is None:
            whole_weights.read(self.network, folder)
        else:
            adapter_values.put(self.network, folder)


def _pace(wanted: Rates, part: Part, adapter: bool, *, decay: float) -> Pace:
    return Pace(rate=wanted.of(part, adapter=adapter), decay=decay)
