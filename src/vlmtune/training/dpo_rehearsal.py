"""DPO without the update: are the pairs pairs, and which side does the model prefer today?"""

# P prompts

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vlmtune.language import prompts
from vlmtune.training.findings import (
    Bench,
    Check,
    Estimate,
    Findings,
    Record,
    judged,
    listed,
    share,
)
from vlmtune.training.grading import finite
from vlmtune.training.row_checks import (
    EncodedRow,
    coherence_checks,
    encode_rows,
    end_token_check,
    image_token_check,
    length_check,
    prompt_length_checks,
    row_record,
)
from vlmtune.training.sft_rehearsal import answer_records, greedy_answers, prompts_and_targets
from vlmtune.types import Example, Prompt

LENGTH_BIAS = 0.8
"""Warn when one side is the longer one in more than this share of the pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One answer of a pair under the model.

    Attributes:
        row: Prompt and answer as tokens.
        logprob: Sum of the natural log-probabilities of its tokens.
    """

    row: EncodedRow
    logprob: float

    @property
    def tokens(self) -> int:
        """Tokens of the answer, end token included."""
        return len(self.row.encoded.target_ids)

    @property
    def per_token(self) -> float:
        """Mean log-probability of a token."""
        return self.logprob / max(1, self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A chosen and a rejected answer to the same prompt."""

    chosen: Side
    rejected: Side

    @property
    def margin(self) -> float:
        """Log-probability of chosen minus rejected; DPO's loss starts from its change."""
        return self.chosen.logprob - self.rejected.logprob

    @property
    def margin_per_token(self) -> float:
        """The same for mean log-probabilities, in which length plays no part."""
        return self.chosen.per_token - self.rejected.per_token


def rehearse(bench: Bench) -> Findings:
    """Score both answers of every pair, and let the model answer each prompt once, greedily."""
    asked, chosen = prompts_and_targets(bench.examples, style=bench.config.prompt.style)
    rejected = _rejected_targets(bench.examples, asked)
    rows = encode_rows(bench.generator, [*asked, *asked], [*chosen, *rejected])
    logprobs = _logprobs(bench, [*asked, *asked], [*chosen, *rejected])
    sides = [Side(row=row, logprob=logprob) for row, logprob in zip(rows, logprobs, strict=True)]
    pairs = [
        Pair(chosen=first, rejected=second)
        for first, second in zip(sides[: len(asked)], sides[len(asked) :], strict=True)
    ]
    answers = greedy_answers(bench, asked)
    names = [example.id for example in bench.examples]
    limit = bench.config.training.max_length
    longest = [max(pair.chosen.row.length, pair.rejected.row.length) for pair in pairs]
    estimates = _estimates(pairs)
    checks = [
        length_check(longest, names, limit=limit),
        *prompt_length_checks(rows, limit=bench.config.training.max_prompt_length),
        image_token_check(rows),
        *_pair_checks(bench.examples, pairs),
        end_token_check(rows, answers),
        _logprob_check(pairs, names),
        _length_bias_check(pairs),
        *coherence_checks(answers),
    ]
    return Findings(
        checks=tuple(checks),
        metrics=_metrics(pairs, estimates),
        estimates=estimates,
        samples=tuple(
            row_record(example, pair.chosen.row.prompt)
            | _pair_record(pair, example, limit=limit)
            | {"completions": answer_records(example, answer)}
            for example, pair, answer in zip(bench.examples, pairs, answers, strict=True)
        ),
        details={
            "margins": [finite(pair.margin) for pair in pairs],
            "margins_per_token": [finite(pair.margin_per_token) for pair in pairs],
        },
    )


def _rejected_targets(examples: Sequence[Example], asked: Sequence[Prompt]) -> list[str]:
    return [
        prompts.target_text(
            style=prompt.style,
            answer=example.rejected or "",
            rationale=example.rejected_rationale,
        )
        for example, prompt in zip(examples, asked, strict=True)
    ]


def _logprobs(bench: Bench, asked: Sequence[Prompt], targets: Sequence[str]) -> list[float]:
    found: list[float] = []
    with bench.track("scoring pairs", len(asked)) as advance:
        for prompt, target in zip(asked, targets, strict=True):
            found += [sum(logs) for logs in bench.generator.score([prompt], [target])]
            advance(1)
    return found


def _pair_checks(examples: Sequence[Example], pairs: Sequence[Pair]) -> list[Check]:
    missing = [
        example.id
        for example in examples
        if not (example.answer or "").strip() or not (example.rejected or "").strip()
    ]
    same = [
        example.id
        for example, pair in zip(examples, pairs, strict=True)
        if _normal(pair.chosen.row.target) == _normal(pair.rejected.row.target)
    ]
    total = len(pairs)
    return [
        judged(
            "pairs_complete",
            f"{len(missing)} of {total} pairs lack a side: {listed(missing)}"
            if missing
            else f"all {total} rows have a chosen and a rejected answer",
            fail=bool(missing),
            remedy="an empty side teaches the model to say nothing, or to say anything",
        ),
        judged(
            "pairs_distinct",
            f"{len(same)} of {total} pairs differ in case, blanks or punctuation only: "
            f"{listed(same)}"
            if same
            else f"chosen and rejected differ in all {total} pairs",
            fail=len(same) == total,
            warn=bool(same),
            remedy="DPO has nothing to tell apart there",
        ),
    ]


def _logprob_check(pairs: Sequence[Pair], names: Sequence[str]) -> Check:
    broken = [name for pair, name in zip(pairs, names, strict=True) if not np.isfinite(pair.margin)]
    if broken:
        detail = f"{len(broken)} pairs have no finite log-probability: {listed(broken)}"
        return judged("preference", detail, fail=True, remedy="the model's numbers overflow")
    preferred = sum(pair.margin_per_token > 0 for pair in pairs)
    against = sum(pair.margin_per_token < 0 for pair in pairs)
    even = len(pairs) - preferred - against
    return judged(
        "preference",
        f"before training, per token, the model prefers chosen in {preferred} of {len(pairs)} "
        f"pairs and rejected in {against}" + (f", and {even} are even" if even else ""),
    )


def _length_bias_check(pairs: Sequence[Pair]) -> Check:
    longer = sum(pair.chosen.tokens > pair.rejected.tokens for pair in pairs)
    shorter = sum(pair.chosen.tokens < pair.rejected.tokens for pair in pairs)
    total = len(pairs)
    side = "longer" if longer >= shorter else "shorter"
    count = max(longer, shorter)
    return judged(
        "length_bias",
        f"the chosen answer is the {side} one in {count} of {total} pairs",
        warn=total >= 8 and count / total > LENGTH_BIAS,
        remedy=f"DPO may learn to answer {side} instead of better",
    )


def _estimates(pairs: Sequence[Pair]) -> dict[str, Estimate]:
    total = len(pairs)
    return {
        "chosen_preferred": share(sum(pair.margin > 0 for pair in pairs), total),
        "chosen_preferred_per_token": share(
            sum(pair.margin_per_token > 0 for pair in pairs), total
        ),
        "chosen_longer": share(
            sum(pair.chosen.tokens > pair.rejected.tokens for pair in pairs), total
        ),
    }


def _metrics(pairs: Sequence[Pair], estimates: Mapping[str, Estimate]) -> dict[str, float | None]:
    def mean(values: Sequence[float]) -> float | None:
        """Average what JSON can hold."""
        return finite(float(np.mean(values)))

    return {
        "pairs": float(len(pairs)),
        "logprob/chosen": mean([pair.chosen.logprob for pair in pairs]),
        "logprob/rejected": mean([pair.rejected.logprob for pair in pairs]),
        "logprob/chosen_per_token": mean([pair.chosen.per_token for pair in pairs]),
        "logprob/rejected_per_token": mean([pair.rejected.per_token for pair in pairs]),
        "margin/mean": mean([pair.margin for pair in pairs]),
        "margin/mean_per_token": mean([pair.margin_per_token for pair in pairs]),
        "tokens/chosen": mean([pair.chosen.tokens for pair in pairs]),
        "tokens/rejected": mean([pair.rejected.tokens for pair in pairs]),
        **{f"share/{name}": estimate.value for name, estimate in estimates.items()},
    }


def _pair_record(pair: Pair, example: Example, *, limit: int | None) -> Record:
    return {
        "rejected": example.rejected,
        "prompt_tokens": len(pair.chosen.row.encoded.prompt_ids),
        "image_tokens": pair.chosen.row.encoded.image_tokens,
        "pair": {
            "chosen": _side_record(pair.chosen, limit=limit),
            "rejected": _side_record(pair.rejected, limit=limit),
            "margin": finite(pair.margin),
            "margin_per_token": finite(pair.margin_per_token),
        },
    }


def _side_record(side: Side, *, limit: int | None) -> Record:
    return {
        "text": side.row.target,
        "tokens": side.tokens,
        "logprob": finite(side.logprob),
        "logprob_per_token": finite(side.per_token),
        "too_long": limit is not None and side.row.length > limit,
    }


def _normal(text: str) -> str:
    """Reduce a text to its words, so that only a real difference counts."""
    kept = "".join(letter if letter.isalnum() else " " for letter in text.casefold())
    return " ".join(kept.split())
