"""What scripts/test_mlx.py does: one model, a few questions, answers and speed on the terminal."""

import time
from collections.abc import Sequence
from itertools import islice

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from vlmtune.backends.select import select
from vlmtune.data.datasets import scenes
from vlmtune.data.images import FileImage
from vlmtune.language.prompts import SPATIAL, build
from vlmtune.protocols import Generator
from vlmtune.rewards import grade
from vlmtune.types import Example, ImageRef, Kind, Sampling, Verdict

GREEDY = Sampling(max_tokens=128, temperature=0)
SPEED = Sampling(samples=8, max_tokens=64, temperature=1.0)
SPEED_PROMPTS = 4
SCENE_QUESTIONS = 8
QUESTIONS = (
    ("How many objects are there?", Kind.COUNT),
    ("Which object is closest to the camera?", Kind.OPEN),
    ("What is on the left side of the image?", Kind.OPEN),
    ("What is on the right side of the image?", Kind.OPEN),
)
"""Asked about a user's picture, whose truth nobody knows."""
MARK = {
    Verdict.CORRECT: "[green]correct[/]",
    Verdict.WRONG: "[red]wrong[/]",
    Verdict.UNREADABLE: "[yellow]unreadable[/]",
}


def try_out(model: str, *, image: str | None, spatial: bool, speed: bool) -> int:
    """Load a model, ask it, and print what it says.

    Args:
        model: What the user typed.
        image: Path of a picture, or None for generated scenes.
        spatial: Also ask spatial questions.
        speed: Also measure groups of completions.

    Returns:
        0, or 1 if the model said nothing at all.

    Raises:
        VlmtuneError: If MLX, the model or the picture cannot be used.
    """
    console = Console(soft_wrap=True, highlight=False)
    selection = select("mlx")
    picture = FileImage(image) if image else None
    if picture is not None:
        picture.open()
    console.print(f"backend {selection.reason}; loading [bold]{escape(model)}[/] ...")
    started = time.perf_counter()
    generator = selection.backend.load_generator(model)
    seconds = time.perf_counter() - started
    size = f"{generator.model.parameters / 1e6:,.1f} M weights"
    console.print(f"loaded {generator.model.architecture}, {size}, in {seconds:.1f} s")
    if model == "pico":
        console.print("pico is tiny and knows scenes only; the real model: --model 3b-4bit")
    said = _ask(generator, _first_questions(picture), title="text and image", console=console)
    if spatial:
        examples = _spatial_questions(picture)
        said += _ask(generator, examples, title="spatial", console=console)
    if speed:
        _measure(generator, console=console)
    if not any(said):
        console.print("[red]the model said nothing to any question[/]")
        return 1
    return 0


def _first_questions(picture: ImageRef | None) -> list[Example]:
    seen = picture or _scenes([Kind.CAPTION], count=1)[0].images[0]
    return [
        Example(id="text", question="Which is more, two or five?"),
        Example(id="image", question="Describe the image.", images=(seen,), kind=Kind.CAPTION),
    ]


def _spatial_questions(picture: ImageRef | None) -> list[Example]:
    if picture is None:
        kinds = [Kind.RELATION, Kind.YES_NO, Kind.COUNT, Kind.CHOICE]
        return _scenes(kinds, count=SCENE_QUESTIONS)
    return [
        Example(id=f"spatial/{place}", question=question, images=(picture,), kind=kind)
        for place, (question, kind) in enumerate(QUESTIONS)
    ]


def _scenes(kinds: Sequence[Kind], *, count: int) -> list[Example]:
    options = {"kinds": [kind.value for kind in kinds]}
    rows = scenes.load(split="tryout", seed=0, options=options, skip=_refuse)
    return list(islice(rows, count))


def _refuse(row: str, reason: str) -> None:
    raise AssertionError(f"scene {row} skipped: {reason}")


def _ask(
    generator: Generator, examples: Sequence[Example], *, title: str, console: Console
) -> list[str]:
    prompts = [build(example, style=SPATIAL) for example in examples]
    groups = generator.generate(prompts, GREEDY)
    columns = [Column(name, overflow="fold") for name in ("question", "answer", "expected", "")]
    table = Table(*columns, title=title, title_justify="left")
    correct = graded = 0
    for example, group in zip(examples, groups, strict=True):
        mark = ""
        if example.answer is not None and example.kind is not Kind.CAPTION:
            verdict = _verdict(example, group[0].text)
            mark = MARK[verdict]
            graded += 1
            correct += verdict is Verdict.CORRECT
        choices = " ".join(f"({'ABCD'[i]}) {choice}" for i, choice in enumerate(example.choices))
        asked = f"{example.question} {choices}".strip()
        table.add_row(escape(asked), escape(group[0].text), escape(example.answer or ""), mark)
    console.print(table)
    if graded:
        console.print(f"{correct} of {graded} correct")
    return [group[0].text for group in groups]


def _verdict(example: Example, text: str) -> Verdict:
    return grade(
        kind=example.kind,
        question=example.question,
        answer=example.answer or "",
        completion=text,
        choices=example.choices,
    ).verdict


def _measure(generator: Generator, *, console: Console) -> None:
    examples = _scenes([Kind.COUNT], count=SPEED_PROMPTS)
    prompts = [build(example, style=SPATIAL) for example in examples]
    started = time.perf_counter()
    groups = generator.generate(prompts, SPEED)
    seconds = time.perf_counter() - started
    tokens = sum(len(completion.token_ids) for group in groups for completion in group)
    console.print(
        f"{SPEED_PROMPTS} prompts x {SPEED.samples} completions: {tokens} tokens in "
        f"{seconds:.2f} s, [bold]{tokens / seconds:,.0f} tokens/s[/] side by side"
    )
