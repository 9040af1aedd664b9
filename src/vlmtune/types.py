"""The nouns: what travels between data, prompts, models, rewards and reports.

All are frozen, keyword-only dataclasses. A decoded image is never stored: an `ImageRef` opens late.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import PIL.Image

JSON: TypeAlias = Any
"""A value that `json.dumps` accepts."""


class _Word(str, Enum):
    """A string enum that prints as its value (`enum.StrEnum` needs Python 3.11)."""

    def __str__(self) -> str:
        return str(self.value)


class Kind(_Word):
    """What a question asks for; decides the prompt's hint, the reward and the metric group."""

    RELATION = "relation"
    COUNT = "count"
    YES_NO = "yes_no"
    CHOICE = "choice"
    CAPTION = "caption"
    OPEN = "open"


class Stage(_Word):
    """A training stage."""

    SFT = "sft"
    DPO = "dpo"
    GRPO = "grpo"


class Finish(_Word):
    """Why a completion ended."""

    STOP = "stop"
    LENGTH = "length"
    ERROR = "error"


class How(_Word):
    """How an answer was found in a completion. UNREADABLE is an outcome of its own, not "wrong"."""

    TAGGED = "tagged"
    LETTER = "letter"
    PHRASE = "phrase"
    NUMBER = "number"
    UNREADABLE = "unreadable"


class Verdict(_Word):
    """The outcome of grading one answer; reports count all three."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNREADABLE = "unreadable"


class ImageRef(Protocol):
    """A picture that is opened only when its pixels are needed."""

    @property
    def name(self) -> str:
        """Where it comes from, for messages and records: a path, or "scenes/train/000017"."""
        ...

    def open(self) -> PIL.Image.Image:
        """Decode it: mode RGB, EXIF rotation applied, size bounded.

        Raises:
            DataError: If the file is missing, corrupt, not an image, or too large.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One finished exchange of a conversation."""

    user: str
    assistant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row of any dataset, in the one shape that the rest of the house knows.

    Attributes:
        id: Unique and stable: "scenes/train/000017".
        images: 0 to 4 pictures, in the order in which the prompt shows them.
        turns: Finished exchanges that come before `question`; empty for single-turn rows.
        question: The last user text, without image placeholders or formatting instructions.
        answer: The gold answer, or None where the row has none.
        rationale: Text that belongs inside <think>, or "".
        rejected: A worse answer for preference pairs, or None.
        rejected_rationale: The thinking that leads to `rejected`, or "".
        kind: What is asked for.
        choices: The options of a CHOICE question, without letters.
        source: The dataset's name.
        facts: Every other column of the row, passed on to rewards.
    """

    id: str
    images: tuple[ImageRef, ...] = ()
    turns: tuple[Turn, ...] = ()
    question: str
    answer: str | None = None
    rationale: str = ""
    rejected: str | None = None
    rejected_rationale: str = ""
    kind: Kind = Kind.OPEN
    choices: tuple[str, ...] = ()
    source: str = ""
    facts: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model is asked; chat templating belongs to the backend's processor.

    Attributes:
        example_id: The Example it was built from.
        messages: Hugging Face chat messages; user content is a list of {"type": "image"} and
            {"type": "text", "text": ...} parts, one image part for each of `images`.
        images: The pictures, in order.
        style: Name of the wording, stored with every run.
    """

    example_id: str
    messages: tuple[Mapping[str, JSON], ...]
    images: tuple[ImageRef, ...] = ()
    style: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to draw completions.

    Attributes:
        samples: Completions per prompt, >= 1.
        max_tokens: Longest completion, in tokens, >= 1.
        temperature: 0 is greedy; logits are divided by it otherwise.
        top_p: Nucleus mass in (0, 1]; 1 keeps everything.
        top_k: Keep the k likeliest tokens; 0 keeps everything.
        seed: Fixes every draw.
    """

    samples: int = 1
    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One answer of a model.

    Attributes:
        text: Decoded without special tokens.
        token_ids: As sampled, with the end token where one was drawn.
        logprobs: Natural log-probability of each of `token_ids` under the distribution
            `logits / temperature` (temperature 1 when greedy), before top-p and top-k; None where
            the backend has none.
        finish: STOP if an end token was drawn, LENGTH if `max_tokens` cut it.
        seconds: Wall time of the batch it came from, divided by the batch's completions.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None
    finish: Finish
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A prompt with a target answer, as token ids, the way training would see it.

    Attributes:
        prompt_ids: Chat template up to and including the assistant's header.
        target_ids: The answer and its end token; the only positions with a loss.
        image_tokens: How many of `prompt_ids` are image placeholders.
    """

    prompt_ids: tuple[int, ...]
    target_ids: tuple[int, ...]
    image_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A worded row to learn from.

    Attributes:
        prompt: What is asked.
        answer: What to say, written in the prompt's style.
        rejected: What not to say, for preference pairs; None elsewhere.
    """

    prompt: Prompt
    answer: str
    rejected: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a training starts from.

    Attributes:
        model: Alias, folder or hub id of the weights.
        adapter: Folder of an adapter above them, or None.
        merge: Add that adapter to the weights, and train something new; else it is trained on.
        stack: Leave it as it is, and train a new one above it; both are saved as one.
    """

    model: str
    adapter: Path | None = None
    merge: bool = False
    stack: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a finished training came to.

    Attributes:
        steps: Optimizer updates made, those before a resume included.
        metrics: The last value of each metric, means over the run where that says more.
        model: Folder of the finished model or adapter.
    """

    steps: int
    metrics: Mapping[str, float]
    model: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The answer that was read out of a completion; value None means unreadable."""

    value: str | int | None
    how: How


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A graded completion.

    Attributes:
        value: What training uses; finite, from 0 to the reward's `largest`: 1, more on scale seed.
        parts: Named components, in [0, 1] on scale unit; "accuracy" is 0.0 or 1.0 on both.
        reading: What was read.
        why: One phrase for people: 'read 4, expected 3'.
        applies: False where no reward applies; the value is then 0 and counts in no mean.
    """

    value: float
    parts: Mapping[str, float]
    reading: Reading
    why: str
    applies: bool = True

    @property
    def earned(self) -> float:
        """The value; NaN where no reward applies."""
        return self.value if self.applies else float("nan")

    @property
    def verdict(self) -> Verdict:
        """CORRECT, WRONG, or UNREADABLE when no answer could be read."""
        if self.parts.get("accuracy", 0.0) == 1.0:
            return Verdict.CORRECT
        return Verdict.UNREADABLE if self.reading.how is How.UNREADABLE else Verdict.WRONG


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSource:
    """Where a benchmark finds its rows.

    Attributes:
        path: A local file or folder, or None for the benchmark's own place (the hub, or a scene).
        image_folder: Where relative picture paths start, or None for the folder of `path`.
        seed: Seed of benchmarks that are drawn and not downloaded.
        count: How many rows such a benchmark draws, or None for its usual number.
    """

    path: Path | None = None
    image_folder: Path | None = None
    seed: int = 0
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRow:
    """One row of a benchmark.

    Attributes:
        id: Unique in the benchmark, stable between runs.
        columns: The benchmark's own columns, without picture bytes; `json.dumps` accepts them.
        image: Its picture, or None where only saved answers are graded.
    """

    id: str
    columns: Mapping[str, JSON]
    image: ImageRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A benchmark's verdict on one answer.

    Attributes:
        verdict: By the benchmark's headline reading.
        gold: The right answer, for people: "(C)", "yes".
        reading: What was read, or "" when nothing was.
        groups: Name of a grouping -> this row's group: {"task": "Count", "source": "COCO"}.
        details: What the benchmark's own roll-up and the report need besides.
    """

    verdict: Verdict
    gold: str
    reading: str
    groups: Mapping[str, str]
    details: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a loaded model is.

    Attributes:
        name: As the user named it.
        path: Where its files were read, or "" without files.
        parameters: Number of weights.
        architecture: The `model_type` of its config.
        adapter: Folder of the adapter above the weights, or "".
    """

    name: str
    path: str
    parameters: int
    architecture: str
    adapter: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A reason why something cannot run here, and what would make it run."""

    what: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAlias:
    """A short name for published weights.

    Attributes:
        hub_id: "owner/name" on the Hugging Face hub.
        ram_gib: Memory that generation needs, in GiB, as users were told.
    """

    hub_id: str
    ram_gib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """Facts about one architecture; no code.

    Attributes:
        name: The file's name in `vlmtune.models.families`.
        model_type: `model_type` of its `config.json`.
        aliases: Backend name -> alias -> published weights.
        never_sampled: Tokens that stand for pixels; a model cannot read its own ones back.
        language_module: Where the language model sits in the network that transformers builds.
        vision_module: Where the vision tower sits there.
        projector_module: Where the layers between the two sit; may be inside `vision_module`.
    """

    name: str
    model_type: str
    aliases: Mapping[str, Mapping[str, ModelAlias]]
    never_sampled: tuple[str, ...]
    language_module: str = "model.language_model"
    vision_module: str = "model.visual"
    projector_module: str = "model.visual.merger"
