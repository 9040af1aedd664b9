"""SFT without the update: what would be learned from each row, and what the model says today."""

# P prompts

from collections.abc import Sequence

import numpy as np

from vlmtune.language import prompts
from vlmtune.training.findings import Bench, Check, Findings, Record, judged, listed, share
from vlmtune.training.grading import graded_records, informal_score
from vlmtune.training.row_checks import (
    EncodedRow,
    coherence_checks,
    completion_record,
    encode_rows,
    end_token_check,
    image_token_check,
    length_check,
    prompt_length_checks,
    row_record,
)
from vlmtune.types import Completion, Example, Finish, Prompt, Sampling


def rehearse(bench: Bench) -> Findings:
    """Tokenise and score every target, and let the model answer each prompt once, greedily."""
    asked, targets = prompts_and_targets(bench.examples, style=bench.config.prompt.style)
    rows = encode_rows(bench.generator, asked, targets)
    with bench.track("scoring targets", len(rows)) as advance:
        logprobs = []
        for prompt, target in zip(asked, targets, strict=True):
            logprobs += bench.generator.score([prompt], [target])
            advance(1)
    answers = greedy_answers(bench, asked)
    losses = [-float(np.mean(logs)) for logs in logprobs]
    names = [example.id for example in bench.examples]
    limit = bench.config.training.max_length
    correct = [_is_correct(e, a) for e, a in zip(bench.examples, answers, strict=True)]
    judged_rows = [right for right in correct if right is not None]
    checks = [
        length_check([row.length for row in rows], names, limit=limit),
        *prompt_length_checks(rows, limit=bench.config.training.max_prompt_length),
        image_token_check(rows),
        *_target_checks(bench.examples, rows),
        end_token_check(rows, answers),
        _same_tokens_check(bench, asked, answers),
        _loss_check(losses, names),
        *coherence_checks(answers),
    ]
    return Findings(
        checks=tuple(checks),
        metrics=_metrics(rows, losses, answers, [len(logs) for logs in logprobs])
        | {"answers/correct": sum(judged_rows) / len(judged_rows) if judged_rows else None},
        estimates={"accuracy": share(sum(judged_rows), len(judged_rows))} if judged_rows else {},
        samples=tuple(
            row_record(example, row.prompt)
            | {
                "target": _target_record(row, loss, limit=limit),
                "prompt_tokens": len(row.encoded.prompt_ids),
                "image_tokens": row.encoded.image_tokens,
                "completions": answer_records(example, answer),
            }
            for example, row, loss, answer in zip(
                bench.examples, rows, losses, answers, strict=True
            )
        ),
        details={"losses": losses},
    )


def prompts_and_targets(
    examples: Sequence[Example], *, style: str
) -> tuple[list[Prompt], list[str]]:
    """Word every row and its answer in the style that the answer can honour."""
    asked, targets = [], []
    for example in examples:
        chosen = prompts.style_of_target(example, style=style)
        asked.append(prompts.build(example, style=chosen))
        targets.append(
            prompts.target_text(
                style=chosen, answer=example.answer or "", rationale=example.rationale
            )
        )
    return asked, targets


def greedy_answers(bench: Bench, asked: Sequence[Prompt]) -> list[Completion]:
    """Let the model answer every prompt once, at temperature 0."""
    sampling = Sampling(
        samples=1,
        max_tokens=bench.config.grpo.max_completion_length,
        temperature=0.0,
        seed=bench.config.seed,
    )
    with bench.track("greedy answers", len(asked)) as advance:
        groups = bench.generator.generate(asked, sampling, progress=advance)
    return [group[0] for group in groups]


def answer_records(example: Example, answer: Completion) -> list[Record]:
    """Record the model's own answer, graded where the kind of question allows it."""
    score = informal_score(example, answer)
    if score is None:
        return [completion_record(answer)]
    return graded_records([answer], [score], None)


def _is_correct(example: Example, answer: Completion) -> bool | None:
    score = informal_score(example, answer)
    return None if score is None else score.parts["accuracy"] == 1.0


def _target_checks(examples: Sequence[Example], rows: Sequence[EncodedRow]) -> list[Check]:
    empty = [
        example.id
        for example, row in zip(examples, rows, strict=True)
        if not (example.answer or "").strip() or len(row.encoded.target_ids) < 2
    ]
    masked = sum(len(row.encoded.prompt_ids) for row in rows)
    trained = sum(len(row.encoded.target_ids) for row in rows)
    return [
        judged(
            "targets_present",
            f"{len(empty)} of {len(rows)} targets are empty: {listed(empty)}"
            if empty
            else f"all {len(rows)} rows have a target",
            fail=len(empty) == len(rows),
            warn=bool(empty),
            remedy="such rows teach the model to say nothing",
        ),
        judged(
            "prompt_masked",
            f"{trained} target tokens are trained, {masked} prompt tokens are masked",
            fail=trained == 0 or masked == 0,
            remedy="the chat template does not tell prompt and answer apart",
        ),
    ]


def _same_tokens_check(
    bench: Bench, asked: Sequence[Prompt], answers: Sequence[Completion]
) -> Check:
    """Check that text goes to tokens and back: the model's own answers are the test."""
    pairs = [
        (prompt, answer)
        for prompt, answer in zip(asked, answers, strict=True)
        if answer.finish is Finish.STOP and answer.text.strip()
    ]
    changed = [
        prompt.example_id
        for prompt, answer in pairs
        if bench.generator.encode(prompt, answer.text).target_ids != answer.token_ids
    ]
    detail = f"{len(pairs) - len(changed)} of {len(pairs)} answers tokenise back to what was drawn"
    return judged(
        "round_trip",
        detail if pairs else "not asked: no answer ended by itself",
        warn=len(changed) > len(pairs) / 2,
        remedy=f"text and tokens disagree in {listed(changed)}",
    )


def _loss_check(losses: Sequence[float], names: Sequence[str]) -> Check:
    broken = [name for loss, name in zip(losses, names, strict=True) if not np.isfinite(loss)]
    if broken:
        detail = f"{len(broken)} targets have no finite log-probability: {listed(broken)}"
        return judged("loss", detail, fail=True, remedy="the model's numbers overflow")
    highest = int(np.argmax(losses))
    return judged(
        "loss",
        f"loss per target token before training: mean {np.mean(losses):.2f}, highest "
        f"{losses[highest]:.2f} in {names[highest]}",
    )


def _metrics(
    rows: Sequence[EncodedRow],
    losses: Sequence[float],
    answers: Sequence[Completion],
    tokens: Sequence[int],
) -> dict[str, float | None]:
    kept = [(loss, n) for loss, n in zip(losses, tokens, strict=True) if np.isfinite(loss)]
    return {
        "prompts": float(len(rows)),
        "tokens/prompt": float(sum(len(row.encoded.prompt_ids) for row in rows)),
        "tokens/image": float(sum(row.encoded.image_tokens for row in rows)),
        "tokens/target": float(sum(len(row.encoded.target_ids) for row in rows)),
        "loss/per_row": float(np.mean([loss for loss, _ in kept])) if kept else None,
        "loss/per_token": _per_token(kept),
        "completions/mean_length": float(np.mean([len(answer.token_ids) for answer in answers])),
        "completions/truncated": float(
            np.mean([answer.finish is not Finish.STOP for answer in answers])
        ),
    }


def _per_token(losses: Sequence[tuple[float, int]]) -> float | None:
    """Average losses over tokens instead of rows, as a trainer does."""
    total = sum(count for _, count in losses)
    return sum(loss * count for loss, count in losses) / total if total else None


def _target_record(row: EncodedRow, loss: float, *, limit: int | None) -> Record:
    return {
        "text": row.target,
        "tokens": len(row.encoded.target_ids),
        "masked_tokens": len(row.encoded.prompt_ids),
        "loss": loss if np.isfinite(loss) else None,
        "too_long": limit is not None and row.length > limit,
    }
