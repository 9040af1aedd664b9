"""What SFT and DPO say while they train: the same few questions, asked every N updates.

    samples.jsonl               {"step": 50, "example_id": ..., "completions": [one answer]}
    samples/step_000050.html    the same with pictures, and with what the row wants to hear

GRPO draws answers anyway; `samples.py` keeps those.
"""

from collections.abc import Sequence
from dataclasses import replace

from vlmtune.backends.job import Exhibit, Job
from vlmtune.training.findings import Record
from vlmtune.training.grading import graded_records, informal_score
from vlmtune.training.row_checks import completion_record, row_record
from vlmtune.training.samples import SampleFiles, is_first_process
from vlmtune.training.work import Work
from vlmtune.types import Completion, Example, Prompt, Sampling

MOST_PROMPTS = 6
"""Questions that are asked each time."""


def exhibited(job: Job, work: Work) -> Job:
    """Add what is asked while a stage trains: held-out rows, or else the first to train on.

    Nothing is asked where `tracking.sample_steps` is null, nor under FSDP and DeepSpeed, where no
    process has all weights to answer with.

    Args:
        job: The worded rows; answers are written to its journal's folder.
        work: The rows that were worded.
    """
    config = job.config
    every, hardware = config.tracking.sample_steps, config.hardware
    if every is None or hardware.fsdp != "no" or hardware.deepspeed or not is_first_process():
        return job
    examples = (work.held or work.trained)[:MOST_PROMPTS]
    worded = (job.evaluation or job.lessons)[:MOST_PROMPTS]
    prompts = [lesson.prompt for lesson in worded]
    wanted = [lesson.answer for lesson in worded]
    files = SampleFiles(job.journal.folder)

    def hear(answers: Sequence[Completion], step: int) -> None:
        """Write down what was said."""
        files.begin(step)
        records = [
            {"step": step} | _record(example, prompt, target, answer)
            for example, prompt, target, answer in zip(
                examples, prompts, wanted, answers, strict=True
            )
        ]
        files.append(records)
        files.page(
            records,
            [image for prompt in prompts for image in prompt.images],
            step=step,
            title=f"{config.run_name or config.stage.value.upper()}, after {step} updates",
            sentence=_sentence(records, held=bool(work.held)),
        )

    sampling = Sampling(
        samples=1,
        max_tokens=config.grpo.max_completion_length,
        temperature=0.0,
        seed=config.seed,
    )
    shown = Exhibit(prompts=prompts, sampling=sampling, every=every, hear=hear)
    return replace(job, exhibit=shown)


def _record(example: Example, prompt: Prompt, target: str, answer: Completion) -> Record:
    score = informal_score(example, answer)
    said = [completion_record(answer)] if score is None else graded_records([answer], [score], None)
    return row_record(example, prompt) | {
        "wanted": target,
        "reward_mean": None if score is None else score.value,
        "reward_std": 0.0,
        "flat": False,
        "completions": said,
    }


def _sentence(records: Sequence[Record], *, held: bool) -> str:
    graded = [record["reward_mean"] for record in records if record["reward_mean"] is not None]
    right = sum(
        record["completions"][0]["parts"].get("accuracy") == 1.0
        for record in records
        if record["reward_mean"] is not None
    )
    asked = f"{len(records)} {'held-out rows' if held else 'rows that are trained on'}, greedy"
    return f"{asked}; {right} of {len(graded)} right." if graded else f"{asked}; none is graded."
