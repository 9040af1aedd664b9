"""Checks that every stage makes: the rows, the pictures, the tokens, the shape of the answers."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmtune.protocols import Generator
from vlmtune.training.findings import Check, Record, judged, listed
from vlmtune.types import JSON, Completion, Encoded, Example, Finish, Prompt

_LOOP_WINDOW = 40
_LOOP_DISTINCT = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedRow:
    """A prompt with one target, as training would tokenise it."""

    prompt: Prompt
    target: str
    encoded: Encoded

    @property
    def length(self) -> int:
        """Tokens of prompt and target together."""
        return len(self.encoded.prompt_ids) + len(self.encoded.target_ids)


def encode_rows(
    generator: Generator, prompts: Sequence[Prompt], targets: Sequence[str]
) -> list[EncodedRow]:
    """Tokenise prompts with their targets, in order."""
    return [
        EncodedRow(prompt=prompt, target=target, encoded=generator.encode(prompt, target))
        for prompt, target in zip(prompts, targets, strict=True)
    ]


def length_check(lengths: Sequence[int], names: Sequence[str], *, limit: int | None) -> Check:
    """Check that rows fit `training.max_length`.

    Args:
        lengths: Tokens per row, with the room that an answer needs.
        names: Ids of the rows.
        limit: Tokens allowed, or None.
    """
    longest = max(lengths)
    if limit is None:
        return judged("length", f"longest row {longest} tokens; training.max_length is off")
    over = [name for length, name in zip(lengths, names, strict=True) if length > limit]
    if not over:
        return judged("length", f"longest row {longest} of {limit} tokens")
    return judged(
        "length",
        f"{len(over)} of {len(lengths)} rows are longer than training.max_length {limit}, the "
        f"longest {longest} tokens: {listed(over)}",
        fail=len(over) == len(lengths),
        warn=True,
        remedy="raise it, or use smaller pictures",
    )


def prompt_length_checks(rows: Sequence[EncodedRow], *, limit: int | None) -> tuple[Check, ...]:
    """Check that prompts fit `training.max_prompt_length`; without it there is nothing to check.

    Args:
        rows: Encoded rows; a prompt with several targets counts once.
        limit: Tokens allowed, those of pictures included, or None.
    """
    if limit is None:
        return ()
    lengths = {row.prompt.example_id: len(row.encoded.prompt_ids) for row in rows}
    over = [name for name, length in lengths.items() if length > limit]
    longest = max(lengths.values())
    return (
        judged(
            "prompt_length",
            f"{len(over)} of {len(lengths)} prompts are longer than training.max_prompt_length "
            f"{limit}, the longest {longest} tokens: {listed(over)}"
            if over
            else f"longest prompt {longest} of {limit} tokens",
            fail=len(over) == len(lengths),
            warn=bool(over),
            remedy="raise it, or use smaller pictures; a prompt is never cut",
        ),
    )


def image_token_check(rows: Sequence[EncodedRow]) -> Check:
    """Check that every picture has its placeholders in the prompt, and text rows have none."""
    wrong = [
        row.prompt.example_id
        for row in rows
        if (row.encoded.image_tokens < len(row.prompt.images))
        or (row.encoded.image_tokens > 0 and not row.prompt.images)
    ]
    counts = [row.encoded.image_tokens for row in rows if row.prompt.images]
    found = f"{min(counts)} to {max(counts)} per row" if counts else "none needed"
    return judged(
        "image_tokens",
        f"{len(wrong)} rows lack image tokens: {listed(wrong)}" if wrong else found,
        fail=bool(wrong),
        remedy="the processor and the chat template disagree about pictures",
    )


def end_token_check(rows: Sequence[EncodedRow], completions: Sequence[Completion]) -> Check:
    """Check that every target ends with one token, the one with which the model ends its answers.

    Args:
        rows: Prompts with their targets, at least one.
        completions: Answers that the model gave, where some were drawn.
    """
    ends = {row.encoded.target_ids[-1] if row.encoded.target_ids else None for row in rows}
    said = {
        completion.token_ids[-1]
        for completion in completions
        if completion.finish is Finish.STOP and completion.token_ids
    }
    one = len(ends) == 1 and None not in ends
    foreign = bool(said) and not ends & said
    detail = f"all {len(rows)} targets end with token {ends.copy().pop()}"
    if not one:
        detail = f"targets end with {len(ends)} different tokens"
    elif foreign:
        detail += f", but the model ended its own answers with {sorted(said)}"
    elif said:
        detail += ", as the model's own answers do"
    return judged(
        "end_token",
        detail,
        fail=not one,
        warn=foreign,
        remedy="a model trained on such targets does not learn when to stop",
    )


def coherence_checks(completions: Sequence[Completion]) -> list[Check]:
    """Check single answers: are they there, do they end, do they go in circles?"""
    total = len(completions)
    empty = sum(not completion.text.strip() for completion in completions)
    loops = sum(goes_in_circles(completion.text) for completion in completions)
    bad = empty + loops
    return [
        judged(
            "coherent_answers",
            f"{total - bad} of {total} greedy answers are text that does not repeat itself"
            + (f"; {empty} empty, {loops} in circles" if bad else ""),
            fail=bad == total,
            warn=bad > total / 5,
            remedy="check that the weights and the chat template belong together",
        ),
        truncation_check(completions),
    ]


def truncation_check(completions: Sequence[Completion]) -> Check:
    """Check that answers end by themselves within the allowed length."""
    total = len(completions)
    cut = sum(completion.finish is not Finish.STOP for completion in completions)
    return judged(
        "answers_end",
        f"{cut} of {total} answers were cut off before they ended"
        if cut
        else f"all {total} answers ended by themselves",
        fail=cut == total,
        warn=cut > total / 5,
        remedy="raise grpo.max_completion_length",
    )


def goes_in_circles(text: str) -> bool:
    """Tell whether the end of a text says the same few words again and again.

    Args:
        text: A completion.

    Returns:
        True if under a fifth of its last 40 words are distinct; False for shorter texts.
    """
    words = text.casefold().split()[-_LOOP_WINDOW:]
    return len(words) == _LOOP_WINDOW and len(set(words)) < _LOOP_DISTINCT * _LOOP_WINDOW


def row_record(example: Example, prompt: Prompt) -> Record:
    """Start the record of a row with what was asked."""
    return {
        "example_id": example.id,
        "source": example.source,
        "kind": example.kind.value,
        "style": prompt.style,
        "prompt": message_text(prompt.messages[-1]["content"]),
        "messages": [
            {"role": message["role"], "text": message_text(message["content"])}
            for message in prompt.messages
        ],
        "answer": example.answer,
        "choices": list(example.choices),
        "images": [image.name for image in example.images],
    }


def completion_record(completion: Completion) -> Record:
    """Record an answer that nothing graded."""
    return {
        "text": completion.text,
        "finish": completion.finish.value,
        "tokens": len(completion.token_ids),
        "reward": None,
        "parts": {},
        "reading": None,
        "why": "",
        "advantage": None,
    }


def message_text(content: JSON) -> str:
    """Read the text of a chat message, pictures left out."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")
