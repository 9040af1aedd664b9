"""What is trained and how fast, as settings say it; every backend that trains takes these."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from vlmtune import config_rules
from vlmtune.backends.targets import PARTS, Part
from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What is trained.

    Attributes:
        method: LoRA or DoRA adapters, or the weights themselves.
        rank: Inner size of an adapter's two matrices.
        alpha: An adapter's output is scaled by alpha / rank.
        dropout: Share of an adapter's inputs that are dropped while training.
        targets: Names of linear layers to adapt; None adapts all.
        parts: Parts that train. A projector beside adapters trains its own weights, since it is
            small and has no redundant rank; peft keeps them with the adapter.
    """

    method: Literal["lora", "dora", "full"] = "lora"
    rank: int = 16
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] | None = None
    parts: frozenset[Part] = frozenset({"language"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Peak learning rates; None takes `default`, for adapters the rate of their part."""

    default: float
    vision: float | None = None
    projector: float | None = None
    language: float | None = None
    adapter: float | None = None

    def of(self, part: Part, *, adapter: bool) -> float:
        """Look up the rate of a weight."""
        own = {"vision": self.vision, "projector": self.projector, "language": self.language}[part]
        if adapter and self.adapter is not None:
            return self.adapter
        return self.default if own is None else own

    def refuse_idle(self, trained: Collection[tuple[Part, bool]]) -> None:
        """Make sure that every rate that is set has a weight that takes it.

        Args:
            trained: Part, and whether it is an adapter, of what trains.

        Raises:
            ConfigError: If a rate is set for weights that do not train.
        """
        keys: Mapping[Part, str] = {
            "vision": "lr_vision_backbone",
            "projector": "lr_mp",
            "language": "lr_language_backbone",
        }
        for part in PARTS:
            own = getattr(self, part)
            used = (part, False) in trained or ((part, True) in trained and self.adapter is None)
            if own and not used:
                raise ConfigError(
                    f"training.{keys[part]} is set and no weight of the {part} part takes it; "
                    f"leave it out, or set model.freeze_{part}: false"
                )
        if self.adapter is not None and not any(adapter for _, adapter in trained):
            raise ConfigError(
                "training.lr_lora is set and there is no adapter; leave it out, or set "
                "model.tuning to lora or dora"
            )


def trained_parts(config: RunConfig) -> frozenset[Part]:
    """Which parts train: those that are not frozen."""
    frozen = config_rules.frozen(config)
    return frozenset(part for part in PARTS if part not in frozen)


def tuning(config: RunConfig) -> Tuning:
    """What to train."""
    lora = config.model.lora
    return Tuning(
        method=config.model.tuning,
        rank=lora.rank,
        alpha=lora.alpha,
        dropout=lora.dropout,
        targets=None if lora.target_modules is None else tuple(lora.target_modules),
        parts=trained_parts(config),
    )


def rates(config: RunConfig) -> Rates:
    """At which peak rates."""
    training = config.training
    return Rates(
        default=training.learning_rate,
        vision=training.lr_vision_backbone,
        projector=training.lr_mp,
        language=training.lr_language_backbone,
        adapter=training.lr_lora,
    )
