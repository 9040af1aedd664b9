r"""Which linear layers an adapter sits on, and to which part of the model a weight belongs.

Three parts: vision encoder, projector, language model. An adapter's targets are a regular
expression over full names, because the short names (q_proj ... down_proj) stand for layers of the
vision tower too: `model\.language_model\..*\.(q_proj|v_proj)`. All names are transformers' own.
"""

import re
from collections.abc import Collection, Iterable
from typing import Literal, TypeAlias

from vlmtune.errors import ConfigError
from vlmtune.types import ModelFamily

Part: TypeAlias = Literal["vision", "projector", "language"]
PARTS: tuple[Part, ...] = ("vision", "projector", "language")


def part_of(name: str, family: ModelFamily) -> Part:
    """Say to which part a weight or module belongs; embeddings and head are language."""
    plain = name.removeprefix("base_model.model.")
    if inside(plain, family.projector_module):
        return "projector"
    return "vision" if inside(plain, family.vision_module) else "language"


def inside(name: str, module: str) -> bool:
    """Say whether a name is a module's or of something in it."""
    return name == module or name.startswith(f"{module}.")


def target_pattern(
    layers: Iterable[str],
    family: ModelFamily,
    *,
    parts: Collection[Part],
    wanted: Collection[str] | None,
) -> str:
    """Write the regular expression of the layers to adapt, as peft matches it: against full names.

    Args:
        layers: Names of the model's linear layers.
        family: Where its parts are.
        parts: Parts that train.
        wanted: Last parts of layers' names; None takes all.

    Raises:
        ConfigError: If a name in `wanted` is no linear layer of any part that trains.
    """
    roots: dict[Part, str] = {"language": family.language_module, "vision": family.vision_module}
    leaves = {part: set[str]() for part in roots}
    for name in layers:
        numbered = re.search(r"\.\d+\.", name) is not None
        part = part_of(name, family)
        if numbered and part in parts and part in leaves and inside(name, roots[part]):
            leaves[part].add(name.rpartition(".")[2])
    known = set().union(*leaves.values())
    chosen = set(wanted or known)
    if missing := sorted(chosen - known):
        raise ConfigError(
            f"model.lora.target_modules: {missing[0]!r} is no linear layer in the parts that "
            f"train; there are {', '.join(sorted(known))}"
        )
    # A number in the name keeps to the blocks: patch embeddings share names with their layers.
    branches = [
        rf"{re.escape(roots[part])}\.(?:.*\.)?\d+\.(?:.*\.)?(?:{'|'.join(sorted(found & chosen))})"
        for part, found in leaves.items()
        if found & chosen
    ]
    if "vision" in parts:
        branches = [rf"(?!{re.escape(family.projector_module)}\.){branch}" for branch in branches]
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"
