"""Numbers of held-out rows, put together from batches as transformers and TRL do.

loss        each batch's mean, then over rows: a short last batch counts for less
numbers     each batch's mean, then over batches
"""

from collections.abc import Callable, Mapping

import mlx.core as mx

Loss = Callable[[range], tuple[mx.array, Mapping[str, mx.array]]]
"""Places of rows -> their mean loss, and numbers."""


def measured(count: int, *, at_once: int, loss: Loss) -> dict[str, float]:
    """Measure rows that none of a run was trained on.

    Args:
        count: How many there are.
        at_once: Rows of a batch.
        loss: Told which rows.

    Returns:
        `eval_loss` and `eval_<number>`; empty without rows.
    """
    total, sums = 0.0, dict[str, float]()
    batches = [range(start, min(start + at_once, count)) for start in range(0, count, at_once)]
    for rows in batches:
        mean, numbers = loss(rows)
        total += float(mean) * len(rows)
        for name, value in numbers.items():
            sums[name] = sums.get(name, 0.0) + float(value)
    if not batches:
        return {}
    return {"eval_loss": total / count} | {
        f"eval_{name}": value / len(batches) for name, value in sums.items()
    }
