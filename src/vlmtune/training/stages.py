"""The stages by their names."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from vlmtune.protocols import Journal
from vlmtune.training import dpo, grpo, sft
from vlmtune.training.work import Work
from vlmtune.types import Stage, TrainResult

STAGES: Mapping[Stage, Callable[[Work, Journal], TrainResult]] = MappingProxyType(
    {Stage.SFT: sft.train, Stage.DPO: dpo.train, Stage.GRPO: grpo.train}
)
"""Stage -> what words its rows and calls the backend with them."""
