"""What was answered while training: a page every N updates, and a line per prompt.

    samples.jsonl               {"step": 50, "example_id": ..., "completions": [...]}
    samples/step_000050.html    the same with pictures

A resumed run drops the lines of updates that it makes again.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vlmtune.backends.rollouts import Group, Rollout, advantages
from vlmtune.config import RunConfig
from vlmtune.reports import sample_page, thumbnails
from vlmtune.training.findings import Record, percent
from vlmtune.training.grading import graded_records, mean_of, spread_of
from vlmtune.training.row_checks import row_record
from vlmtune.training.run_directory import SAMPLES, as_line
from vlmtune.types import Example, ImageRef

PAGES = "samples"
MOST_PROMPTS = 12
"""Prompts of one page; samples.jsonl holds all of a rollout."""


class SampleFiles:
    """The two places where answers go; lines and pages of updates that are made again are dropped.

    Attributes:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._begun = False

    def begin(self, step: int) -> int | None:
        """Drop what updates left that are made again, and a line that a kill cut in two.

        Args:
            step: Updates made when the first answers of this process are heard.

        Returns:
            The last page that is kept, or None; also where this was called before.
        """
        if self._begun:
            return None
        self._begun = True
        kept = None
        for page in sorted((self.folder / PAGES).glob("step_*.html")):
            number = int(page.stem.removeprefix("step_"))
            if number >= step:
                page.unlink()
            else:
                kept = number
        path = self.folder / SAMPLES
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            building = path.with_name(f".{SAMPLES}.building")
            building.write_text(
                "".join(f"{line}\n" for line in lines if _is_before(line, step)), encoding="utf-8"
            )
            building.replace(path)
        return kept

    def append(self, records: Sequence[Record]) -> None:
        """Write lines."""
        with (self.folder / SAMPLES).open("a", encoding="utf-8") as file:
            file.writelines(as_line(record) for record in records)

    def page(
        self,
        records: Sequence[Record],
        images: Sequence[ImageRef],
        *,
        step: int,
        title: str,
        sentence: str,
    ) -> None:
        """Write a page."""
        pages = self.folder / PAGES
        pages.mkdir(exist_ok=True)
        sample_page.write_page(
            pages / f"step_{step:06d}.html",
            records,
            pictures=thumbnails.make(images),
            title=title,
            sentence=sentence,
        )


class SampleBook:
    """Writes a run's rollouts to its folder."""

    def __init__(self, folder: Path, config: RunConfig, examples: Mapping[str, Example]) -> None:
        self._files = SampleFiles(folder)
        self._config = config
        self._examples = examples
        self._next_page = 0

    def write(self, rollout: Rollout, step: int, training: bool) -> None:
        """Take note of a rollout.

        Args:
            rollout: What was drawn and graded.
            step: Updates made before it.
            training: False for rollouts of an evaluation, of which only metrics are kept.
        """
        if not training or not is_first_process():
            return
        every = self._config.tracking.sample_steps
        kept = self._files.begin(step)
        if kept is not None and every is not None:
            self._next_page = (kept // every + 1) * every
        due = every is not None and step >= self._next_page
        if not due and not self._config.grpo.log_completions:
            return
        records = self._records(rollout, step)
        self._files.append(records)
        if due and every is not None:
            self._next_page = (step // every + 1) * every
            self._page(rollout, records, step)

    def _records(self, rollout: Rollout, step: int) -> list[Record]:
        gained_PG = advantages(rollout.rewards_PG, scale=self._config.grpo.scale_rewards)
        return [
            {"step": step}
            | _record(group, gained.tolist(), self._examples[group.prompt.example_id])
            for group, gained in zip(rollout.groups, gained_PG, strict=True)
        ]

    def _page(self, rollout: Rollout, records: Sequence[Record], step: int) -> None:
        numbers = rollout.metrics()
        self._files.page(
            records[:MOST_PROMPTS],
            [image for group in rollout.groups[:MOST_PROMPTS] for image in group.prompt.images],
            step=step,
            title=f"{self._config.run_name or 'GRPO'}, after {step} updates",
            sentence=f"{_graded(numbers)} over {len(rollout.groups)} prompts; "
            f"{percent(numbers['reward/flat_groups'])} of the groups drawn are flat, "
            f"{percent(numbers['completions/truncated'])} of the answers cut off.",
        )


def is_first_process() -> bool:
    """Say whether this one writes: of several processes their lines would mix."""
    return int(os.environ.get("RANK", "0")) == 0


def _is_before(line: str, step: int) -> bool:
    try:
        return int(json.loads(line)["step"]) < step
    except (ValueError, KeyError, TypeError):
        return False


def _graded(numbers: Mapping[str, float]) -> str:
    if "reward/mean" not in numbers:
        return "No reward applies"
    unread = percent(numbers["answers/unreadable"])
    return f"Mean reward {numbers['reward/mean']:.3f}, {unread} of the answers unreadable,"


def _record(group: Group, gained: Sequence[float], example: Example) -> Record:
    rewards = np.array(group.rewards)
    return row_record(example, group.prompt) | {
        "reward_mean": mean_of(rewards),
        "reward_std": spread_of(rewards),
        "flat": group.flat,
        "completions": graded_records(group.completions, group.scores, gained),
    }
