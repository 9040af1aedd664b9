"""Teach pico: first what is where in a picture, then to say so, of few things before many.

A language loss alone teaches a small model from nothing almost nothing: the tower has no reason to
see. So the first course trains the vision tower densely: for every image token, what stands in
its cell, how many, and where in it. The other two add questions and captions while two dense losses
stay on at low weights: that of the tower, and one of the language model's states after two layers,
which must tell in which column and row an image token lies and in which cell of the 10 x 10 grid
its thing stands. The tower cannot know that: its rotary attention is relative, and no picture has a
mark at its border; only the distance to the tokens before the picture places a token.

The tokens of the answer itself weigh more than the thinking before it: comparing two written places
is a small share of all tokens, and without the weight pico names the places and then guesses.

Finding the one thing that a question names is learned much faster among four things than among
twelve, hence "few" before "many".
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from vlmtune.backends.pytorch.pico.architecture import TEXT, new_model
from vlmtune.backends.pytorch.pico.lessons import IGNORED, LOOKS, Batch, Lessons
from vlmtune.scenes.world import GRID

COURSES = ("vision", "few", "many")
MOST_CELLS = 8
"""Cells along the longer side of the largest picture of the lessons."""
GROUPS = 3
"""Rows of a batch go through the language model in this many groups of like lengths."""
CHUNK = 128
"""Queries that attend at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How long and how hard; the same recipe and seed give the same course."""

    seed: int = 0
    size: int = 24
    vision_batches: int = 1500
    vision_rate: float = 2e-3
    few_batches: int = 1800
    few_rate: float = 1.0e-3
    many_batches: int = 3000
    many_rate: float = 1.0e-3
    answer_weight: float = 4.0
    places_weight: float = 0.2
    warmup: int = 100
    dense_weight: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    save_every: int = 100
    bfloat16: bool = True


class Probe(nn.Module):
    """Linear readers of the image tokens; used in training only and not shipped."""

    def __init__(self) -> None:
        """Make the three readers: looks, number of centres, offset and size."""
        super().__init__()
        self.looks = nn.Linear(TEXT["hidden_size"], LOOKS)
        self.centres = nn.Linear(TEXT["hidden_size"], 4)
        self.offsets = nn.Linear(TEXT["hidden_size"], 3)

    def forward(self, seen: Tensor, batch: Batch) -> Tensor:
        """Dense loss of image tokens `seen` [B * cells, hidden]; a scalar."""
        looks = batch.looks.flatten(0, 1)
        loss = F.binary_cross_entropy_with_logits(self.looks(seen), looks, reduction="sum")
        loss = loss / looks.sum().clamp(min=1)
        loss = loss + F.cross_entropy(self.centres(seen), batch.centres.flatten())
        offsets = batch.offsets.flatten(0, 1)
        known = ~offsets[:, 0].isnan()
        return loss + 4 * F.mse_loss(self.offsets(seen)[known], offsets[known])


class Places(nn.Module):
    """Linear readers of the language model's states at image tokens; not shipped either."""

    LAYER = 2
    """Layers passed before the states are read: the others can then look places up."""

    def __init__(self) -> None:
        """Make readers of the token's own column and row, and of its thing's cell."""
        super().__init__()
        self.own = nn.Linear(TEXT["hidden_size"], 2 * MOST_CELLS)
        self.thing = nn.Linear(TEXT["hidden_size"], 2 * GRID)

    def forward(self, states: Tensor, own_cell: Tensor, thing_cell: Tensor) -> Tensor:
        """Cross-entropy of places, as Batch has them, of image tokens [B * cells, hidden]."""
        own = self.own(states).unflatten(-1, (2, MOST_CELLS))
        loss = F.cross_entropy(own.flatten(0, 1), own_cell.flatten())
        thing = self.thing(states).unflatten(-1, (2, GRID)).flatten(0, 1)
        return loss + F.cross_entropy(thing, thing_cell.flatten(), ignore_index=IGNORED)


class Pupil(nn.Module):
    """pico and its probe under one roof, so that one optimizer and one checkpoint hold both."""

    def __init__(self, *, seed: int) -> None:
        """Start from random weights."""
        super().__init__()
        self.model: Qwen2_5_VLForConditionalGeneration = new_model(seed=seed)
        ALL_ATTENTION_FUNCTIONS.register("in_chunks", attend_in_chunks)
        self.model.model.language_model.config._attn_implementation = "in_chunks"
        self.probe = Probe()
        self.places = Places()

    def see(self, batch: Batch) -> Tensor:
        """Image tokens of all pictures, [B * cells, hidden]."""
        tokens: Tensor = self.model.model.visual(batch.pixels, grid_thw=batch.grid).pooler_output
        return tokens

    def answer_loss(
        self, batch: Batch, seen: Tensor, *, answer_weight: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Weighted mean cross-entropy, the share of decisive tokens right, and the places' loss."""
        embedded = self.model.get_input_embeddings()(batch.ids)
        places = batch.ids == self.model.config.image_token_id
        embedded = embedded.masked_scatter(places[..., None], seen.to(embedded.dtype))
        lengths = (batch.segments >= 0).sum(dim=1)
        order = lengths.argsort()
        states, placed, labels, decisive = [], [], [], []
        for rows in order.chunk(GROUPS):
            here = (rows, slice(int(lengths[rows].max())))
            told = self.model.model.language_model(
                inputs_embeds=embedded[here],
                position_ids=batch.positions[:, rows, here[1]],
                attention_mask=segment_mask(batch.segments[here], embedded.dtype),
                use_cache=False,
                output_hidden_states=True,
            )
            counted = batch.labels[here] != IGNORED
            states.append(told.last_hidden_state[counted])
            placed.append(told.hidden_states[Places.LAYER][places[here]])
            labels.append(batch.labels[here][counted])
            decisive.append(batch.decisive[here][counted])
        logits = self.model.lm_head(torch.cat(states)).float()
        return (
            *_answer_loss(logits, torch.cat(labels), torch.cat(decisive), weight=answer_weight),
            self.places(torch.cat(placed), batch.own_cell[order], batch.thing_cell[order]),
        )


def _answer_loss(
    logits: Tensor, labels: Tensor, decisive: Tensor, *, weight: float
) -> tuple[Tensor, Tensor]:
    right = (logits.argmax(-1) == labels)[decisive].float().mean()
    weights = 1 + (weight - 1) * decisive.float()
    losses = F.cross_entropy(logits, labels, reduction="none")
    return (weights * losses).sum() / weights.sum(), right


def attend_in_chunks(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    *,
    scaling: float,
    **_: object,
) -> tuple[Tensor, None]:
    """Attend with a causal mask, a chunk of queries at a time, each to the keys before its end.

    PyTorch's kernel for masks computes what the mask then hides; a third of that is saved.

    Args:
        module: The attention layer; knows how many query heads share a key.
        query: [B, heads, S, D].
        key: [B, key heads, S, D].
        value: [B, key heads, S, D].
        attention_mask: Additive [B, 1, S, S]; nothing later than a query may be open to it.
        scaling: Of the dot products.

    Returns:
        [B, S, heads, D], and no weights.
    """
    shared = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    chunks = []
    for start in range(0, query.shape[2], CHUNK):
        end = min(start + CHUNK, query.shape[2])
        mask = attention_mask[:, :, start:end, :end]
        chunks.append(
            F.scaled_dot_product_attention(
                query[:, :, start:end], key[:, :, :end], value[:, :, :end], mask, scale=scaling
            )
        )
    return torch.cat(chunks, dim=2).transpose(1, 2).contiguous(), None


def segment_mask(segments_BS: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive mask [B, 1, S, S]: causal, within one's segment and the prefix."""
    key, query = segments_BS[:, None, :], segments_BS[:, :, None]
    length = segments_BS.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    allowed = causal & ((key == query) | (key == 0)) & (key >= 0)
    # Padding sees itself: a row without any allowed key would be NaN.
    allowed = allowed | torch.eye(length, dtype=torch.bool)
    mask = torch.zeros(allowed.shape, dtype=dtype)
    return mask.masked_fill(~allowed, torch.finfo(dtype).min)[:, None]


def train(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, folder: Path, console: Console
) -> Pupil:
    """Run both courses, resuming from `folder` if it holds a checkpoint of the same recipe.

    Args:
        recipe: What to do.
        tokenizer: pico's.
        folder: For checkpoints and `lessons.jsonl`, a line of figures every 20 batches.
        console: For progress.

    Returns:
        The trained pupil.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pupil = Pupil(seed=recipe.seed)
    for course in COURSES:
        _run_course(course, recipe, pupil, tokenizer=tokenizer, folder=folder, console=console)
    return pupil


def _run_course(
    course: str,
    recipe: Recipe,
    pupil: Pupil,
    *,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    console: Console,
) -> None:
    total, peak = getattr(recipe, f"{course}_batches"), getattr(recipe, f"{course}_rate")
    optimizer = torch.optim.AdamW(
        pupil.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )
    path = folder / f"{course}.pt"
    start = _load(path, recipe=recipe, pupil=pupil, optimizer=optimizer)
    lessons = Lessons(tokenizer, seed=recipe.seed, batches=total, size=recipe.size, course=course)
    began = time.perf_counter()
    for step, batch in _batches(lessons, start):
        rate = peak * schedule(step, total=total, warmup=recipe.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        figures = _step(course, recipe, pupil, optimizer, batch)
        if step % 20 == 0 or step + 1 == total:
            pace = (step + 1 - start) * recipe.size / (time.perf_counter() - began)
            line = {"course": course, "step": step, **figures, "pictures_per_second": pace}
            with (folder / "lessons.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            console.print(" ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}"
                                   for k, v in line.items()))  # fmt: skip
        if (step + 1) % recipe.save_every == 0 or step + 1 == total:
            _save(path, step=step + 1, recipe=recipe, pupil=pupil, optimizer=optimizer)


def _batches(lessons: Lessons, start: int) -> Iterator[tuple[int, Batch]]:
    rest = Subset(lessons, range(start, len(lessons)))
    loader: DataLoader[Batch] = DataLoader(
        rest, batch_size=None, num_workers=1, prefetch_factor=4, worker_init_fn=_one_thread
    )
    yield from enumerate(loader, start=start)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def _step(
    course: str, recipe: Recipe, pupil: Pupil, optimizer: torch.optim.Optimizer, batch: Batch
) -> dict[str, float]:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bfloat16):
        seen = pupil.see(batch)
        dense = pupil.probe(seen, batch)
        if course == "vision":
            loss, figures = dense, {"dense": float(dense.detach())}
        else:
            answers, right, placed = pupil.answer_loss(
                batch, seen, answer_weight=recipe.answer_weight
            )
            loss = answers + recipe.dense_weight * dense + recipe.places_weight * placed
            losses = {"answers": answers, "right": right, "dense": dense, "places": placed}
            figures = {name: float(value.detach()) for name, value in losses.items()}
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(pupil.parameters(), recipe.clip, error_if_nonfinite=True)
    optimizer.step()
    return {**figures, "norm": float(norm)}


def schedule(step: int, *, total: int, warmup: int) -> float:
    """Linear warm-up, then a cosine to a twentieth of the peak; 0..1."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))


def _save(
    path: Path,
    *,
    step: int,
    recipe: Recipe,
    pupil: Pupil,
    optimizer: torch.optim.Optimizer,
) -> None:
    part = path.with_name(f"{path.name}.part")
    torch.save(
        {
            "step": step,
            "recipe": asdict(recipe),
            "pupil": pupil.state_dict(),
            "optimizer": optimizer.state_dict(),
        },
        part,
    )
    part.replace(path)


def _load(path: Path, *, recipe: Recipe, pupil: Pupil, optimizer: torch.optim.Optimizer) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    later = COURSES[COURSES.index(path.stem) + 1 :]
    # A course is the same however long the next ones will be.
    if _without(state["recipe"], later) != _without(asdict(recipe), later):
        raise ValueError(f"{path} was made by another recipe; remove the folder to start again")
    pupil.load_state_dict(state["pupil"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _without(recipe: dict[str, object], courses: tuple[str, ...]) -> dict[str, object]:
    fields = tuple(f"{course}_" for course in courses)
    return {name: value for name, value in recipe.items() if not name.startswith(fields)}
