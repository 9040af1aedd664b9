"""GRPO without the update: groups of answers, what they earn, and what a trainer would learn.

Completions of one prompt form a group. Advantages compare them with each other, so a group whose
answers all earn the same teaches nothing; how many groups are like that decides whether a run is
worth its money, and G and the temperature are the two handles on it.
"""

# P prompts, G completions per prompt

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from vlmtune import objectives
from vlmtune.language import prompts
from vlmtune.protocols import RewardFunction
from vlmtune.rewards import build_reward
from vlmtune.rewards.weighted import told
from vlmtune.training.findings import (
    Bench,
    Check,
    Estimate,
    Findings,
    Record,
    clustered_share,
    judged,
    percent,
    share,
)
from vlmtune.training.forecast import forecast_flat_share
from vlmtune.training.grading import (
    Graded,
    batch_advantages,
    grade_groups,
    graded_records,
    mean_of,
    reward_checks,
    spread_of,
)
from vlmtune.training.row_checks import (
    EncodedRow,
    encode_rows,
    end_token_check,
    image_token_check,
    length_check,
    prompt_length_checks,
    row_record,
    truncation_check,
)
from vlmtune.types import JSON, Completion, Example, Finish, Prompt, Sampling

EXTREMES = 3
"""Best and worst groups that the summary names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What came out of drawing and grading.

    Attributes:
        prompts: P prompts.
        completions: [P][G].
        graded: Their scores.
        advantages_PG: What an update would weigh them with.
        flat_P: Groups that teach nothing.
    """

    prompts: Sequence[Prompt]
    completions: Sequence[Sequence[Completion]]
    graded: Graded
    advantages_PG: npt.NDArray[np.float64]
    flat_P: npt.NDArray[np.bool_]

    @property
    def flat(self) -> list[Completion]:
        """All completions, one prompt after the other."""
        return [completion for group in self.completions for completion in group]

    @property
    def lengths_PG(self) -> npt.NDArray[np.int64]:
        """Tokens of every completion."""
        return np.array([[len(c.token_ids) for c in group] for group in self.completions])

    @property
    def truncated_PG(self) -> npt.NDArray[np.bool_]:
        """True where an answer did not end by itself."""
        return np.array([[c.finish is not Finish.STOP for c in g] for g in self.completions])


def rehearse(bench: Bench) -> Findings:
    """Draw, grade and compare groups of answers.

    Raises:
        ConfigError: If the reward is unknown.
        DataError: If the reward needs what a row does not have.
    """
    style = bench.config.prompt.style
    reward = build_reward(bench.config.reward, examples=bench.examples)
    asked = [prompts.build(example, style=style) for example in bench.examples]
    rows = encode_rows(
        bench.generator, asked, [_gold_target(example, style) for example in bench.examples]
    )
    rollout = _roll_out(bench, reward, asked)
    temperatures = _temperature_details(bench, reward, rollout)
    estimates = _estimates(rollout)
    return Findings(
        checks=tuple(_checks(bench, reward, rows, rollout, estimates)),
        metrics=_metrics(rollout, estimates),
        estimates=estimates,
        samples=tuple(_records(bench.examples, rows, rollout)),
        details={
            "reward": told(reward),
            "generations": bench.config.grpo.num_generations,
            "temperatures": temperatures,
            "kinds": _kind_details(bench.examples, rollout),
            "extremes": _extremes(bench.examples, rollout),
        },
    )


def _gold_target(example: Example, style: str) -> str:
    if example.answer is None:
        return ""
    return prompts.target_text(style=style, answer=example.answer, rationale=example.rationale)


def _sampling(bench: Bench, *, temperature: float) -> Sampling:
    grpo = bench.config.grpo
    return Sampling(
        samples=grpo.num_generations,
        max_tokens=grpo.max_completion_length,
        temperature=temperature,
        top_p=grpo.top_p,
        top_k=grpo.top_k,
        seed=bench.config.seed,
    )


def _roll_out(bench: Bench, reward: RewardFunction, asked: Sequence[Prompt]) -> Rollout:
    temperature = bench.config.grpo.temperature
    completions = _draw(bench, asked, temperature=temperature, title="drawing groups of answers")
    graded = grade_groups(reward, bench.examples, completions, asked=asked)
    return Rollout(
        prompts=asked,
        completions=completions,
        graded=graded,
        advantages_PG=batch_advantages(graded, config=bench.config),
        flat_P=objectives.flat_groups(graded.rewards_PG),
    )


def _draw(
    bench: Bench, asked: Sequence[Prompt], *, temperature: float, title: str
) -> list[list[Completion]]:
    sampling = _sampling(bench, temperature=temperature)
    with bench.track(title, len(asked) * sampling.samples) as advance:
        return bench.generator.generate(asked, sampling, progress=advance)


def _temperature_details(bench: Bench, reward: RewardFunction, rollout: Rollout) -> list[Record]:
    """Measure the share of flat groups at every temperature, and forecast it for other G."""
    chosen = bench.config.grpo.temperature
    measured = [_temperature_record(bench, chosen, rollout.graded)]
    count = min(bench.config.rehearsal.forecast_prompts, len(rollout.prompts))
    for temperature in dict.fromkeys(bench.config.rehearsal.temperatures):
        if temperature == chosen:
            continue
        completions = _draw(
            bench,
            rollout.prompts[:count],
            temperature=temperature,
            title=f"temperature {temperature:g}",
        )
        graded = grade_groups(
            reward, bench.examples[:count], completions, asked=rollout.prompts[:count]
        )
        measured.append(_temperature_record(bench, temperature, graded))
    return sorted(measured, key=lambda record: float(record["temperature"]))


def _temperature_record(bench: Bench, temperature: float, graded: Graded) -> Record:
    flat = objectives.flat_groups(graded.rewards_PG)
    sizes = sorted({*bench.config.rehearsal.forecast_generations})
    forecast = forecast_flat_share(graded.rewards_PG, sizes, seed=bench.config.seed)
    return {
        "temperature": temperature,
        "chosen": temperature == bench.config.grpo.temperature,
        "generations": graded.rewards_PG.shape[1],
        "prompts": len(flat),
        "reward_mean": graded.mean,
        "unreadable": float(graded.unreadable_PG.mean()),
        "flat": asdict(share(int(flat.sum()), len(flat))),
        "forecast": [asdict(point) for point in forecast],
    }


def _estimates(rollout: Rollout) -> dict[str, Estimate]:
    flat = rollout.flat_P
    found = {
        "flat_groups": share(int(flat.sum()), len(flat)),
        "unreadable": clustered_share(rollout.graded.unreadable_PG),
        "truncated": clustered_share(rollout.truncated_PG),
    }
    for name in ("accuracy", "format"):
        part = rollout.graded.part_PG(name)
        if part.size and not np.isnan(part).any():
            found[name] = clustered_share(part == 1.0)
    return found


def _metrics(rollout: Rollout, estimates: Mapping[str, Estimate]) -> dict[str, float | None]:
    rewards, lengths = rollout.graded.rewards_PG, rollout.lengths_PG
    spreads = [spread for group in rewards if (spread := spread_of(group)) is not None]
    found: dict[str, float | None] = {
        "prompts": float(rewards.shape[0]),
        "completions": float(rewards.size),
        "reward/mean": rollout.graded.mean,
        "reward/std": spread_of(rewards),
        "reward/group_std": float(np.mean(spreads)) if spreads else None,
        "reward/flat_groups": estimates["flat_groups"].value,
        "answers/unreadable": estimates["unreadable"].value,
        "completions/truncated": estimates["truncated"].value,
        "completions/mean_length": float(lengths.mean()),
        "completions/min_length": float(lengths.min()),
        "completions/max_length": float(lengths.max()),
    }
    if not rollout.graded.known_PG.all():
        found["reward/not_applicable"] = float((~rollout.graded.known_PG).mean())
    for name in rollout.graded.part_names:
        part = rollout.graded.part_PG(name)
        # A part may exist for some kinds only; its mean is over the scores that have it.
        known = part[np.isfinite(part)]
        found[f"reward/parts/{name}"] = float(known.mean()) if known.size else None
    return found


def _checks(
    bench: Bench,
    reward: RewardFunction,
    rows: Sequence[EncodedRow],
    rollout: Rollout,
    estimates: Mapping[str, Estimate],
) -> list[Check]:
    style = bench.config.prompt.style
    room = bench.config.grpo.max_completion_length
    lengths = [len(row.encoded.prompt_ids) + room for row in rows]
    names = [example.id for example in bench.examples]
    return [
        length_check(lengths, names, limit=bench.config.training.max_length),
        *prompt_length_checks(rows, limit=bench.config.training.max_prompt_length),
        image_token_check(rows),
        end_token_check(rows, rollout.flat),
        *_answer_checks(rollout, estimates, style=style),
        *reward_checks(reward, bench.examples, rollout.graded, style=style),
        *_signal_checks(rollout, estimates),
    ]


def _answer_checks(
    rollout: Rollout, estimates: Mapping[str, Estimate], *, style: str
) -> list[Check]:
    total = len(rollout.flat)
    empty = sum(not completion.text.strip() for completion in rollout.flat)
    unreadable = estimates["unreadable"].value
    checks = [
        judged(
            "answers_not_empty",
            f"{empty} of {total} answers are empty" if empty else f"all {total} answers have text",
            fail=empty == total,
            warn=empty > total / 5,
            remedy="check that the weights and the chat template belong together",
        ),
        truncation_check(rollout.flat),
        judged(
            "answers_readable",
            f"an answer could be read in {percent(1 - unreadable)} of {total} completions",
            fail=unreadable == 1.0,
            warn=unreadable > 0.5,
            remedy="run SFT first, so that the model knows how to answer",
        ),
    ]
    if "format" in estimates and style == prompts.SPATIAL:
        formed = estimates["format"]
        checks.append(
            judged(
                "well_formed",
                f"{percent(formed.value)} of {total} answers have the tags that are asked for "
                f"(95% interval {percent(formed.low)} to {percent(formed.high)})",
                warn=formed.value < 0.5,
                remedy="run SFT first; GRPO learns the form slowly where it rarely appears",
            )
        )
    return checks


def _signal_checks(rollout: Rollout, estimates: Mapping[str, Estimate]) -> list[Check]:
    rewards = rollout.graded.rewards_PG[rollout.graded.known_PG]
    values, counts = np.unique(rewards, return_counts=True)
    flat = estimates["flat_groups"]
    groups = len(rollout.flat_P)
    said = f"{round(flat.value * groups)} of {groups} groups are flat"
    return [
        judged(
            "rewards_vary",
            f"{len(values)} different rewards, the most frequent in "
            f"{percent(float(counts.max() / rewards.size))} of the answers"
            if len(values) > 1
            else f"all {rewards.size} answers earn {values[0] if values.size else 0:g}",
            fail=len(values) < 2,
            remedy="there is nothing to learn from equal rewards",
        ),
        judged(
            "flat_groups",
            f"{said}: {percent(flat.value)} "
            f"(95% interval {percent(flat.low)} to {percent(flat.high)})",
            fail=flat.value == 1.0,
            warn=flat.value > 0.5,
            remedy="flat groups give no gradient: raise grpo.num_generations or the temperature, "
            "or choose rows of another difficulty",
        ),
    ]


def _records(
    examples: Sequence[Example], rows: Sequence[EncodedRow], rollout: Rollout
) -> list[Record]:
    records = []
    for index, (example, row) in enumerate(zip(examples, rows, strict=True)):
        rewards = rollout.graded.rewards_PG[index]
        records.append(
            row_record(example, rollout.prompts[index])
            | {
                "prompt_tokens": len(row.encoded.prompt_ids),
                "image_tokens": row.encoded.image_tokens,
                "reward_mean": mean_of(rewards),
                "reward_std": spread_of(rewards),
                "flat": bool(rollout.flat_P[index]),
                "completions": graded_records(
                    rollout.completions[index],
                    rollout.graded.scores[index],
                    rollout.advantages_PG[index].tolist(),
                ),
            }
        )
    return records


def _kind_details(examples: Sequence[Example], rollout: Rollout) -> list[Record]:
    records: list[Record] = []
    accuracy = rollout.graded.part_PG("accuracy")
    for kind in dict.fromkeys(example.kind for example in examples):
        rows = [index for index, example in enumerate(examples) if example.kind is kind]
        known = not np.isnan(accuracy[rows]).any()
        records.append(
            {
                "kind": kind.value,
                "prompts": len(rows),
                "completions": len(rows) * accuracy.shape[1],
                "reward_mean": mean_of(rollout.graded.rewards_PG[rows]),
                "accuracy": asdict(clustered_share(accuracy[rows] == 1.0)) if known else None,
                "unreadable": float(rollout.graded.unreadable_PG[rows].mean()),
                "flat": float(rollout.flat_P[rows].mean()),
            }
        )
    return records


def _extremes(examples: Sequence[Example], rollout: Rollout) -> dict[str, JSON]:
    """Name the groups with the highest and the lowest mean reward; ties keep the rows' order."""
    means = [mean_of(group) for group in rollout.graded.rewards_PG]
    graded = [index for index, mean in enumerate(means) if mean is not None]
    order = sorted(graded, key=lambda index: -(means[index] or 0.0))

    def told(indices: Sequence[int]) -> list[Record]:
        """Name groups with their means."""
        return [
            {"example_id": examples[index].id, "reward_mean": means[index]} for index in indices
        ]

    count = min(EXTREMES, len(order) // 2)
    return {"best": told(order[:count]), "worst": told(order[::-1][:count])}
