"""Which of many prompts are the same question, so that it is computed once."""

import json
from collections.abc import Sequence

from vlmtune.types import Prompt


def distinct_prompts(prompts: Sequence[Prompt]) -> list[tuple[Prompt, list[int]]]:
    """Group equal prompts: same messages, same images.

    Args:
        prompts: P prompts.

    Returns:
        Each distinct prompt with the places where it stands, in the order of first appearance.
    """
    found: dict[str, list[tuple[Prompt, list[int]]]] = {}
    ordered: list[tuple[Prompt, list[int]]] = []
    for place, prompt in enumerate(prompts):
        key = json.dumps(prompt.messages, sort_keys=True, default=str)
        same = [entry for entry in found.get(key, []) if entry[0].images == prompt.images]
        if same:
            same[0][1].append(place)
        else:
            entry = (prompt, [place])
            found.setdefault(key, []).append(entry)
            ordered.append(entry)
    return ordered
