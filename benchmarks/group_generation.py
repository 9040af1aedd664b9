"""Tokens a second of groups of completions: ours, mlx_vlm.generate and mlx_vlm.batch_generate.

python benchmarks/group_generation.py --prompts 4 --samples 8

All answer the same prompts about the same scenes with the same weights, temperature and longest
answer, in one process and in turns; the median turn counts. The peers encode image and prompt again
for every completion. On Linux all three multiply with the BLAS that vlmtune puts in place;
VLMTUNE_OPENBLAS=0 measures them with the one that MLX was built with.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="pico")
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--max_tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="*", default=[8, 32, 64], help="decode steps")
    flags = parser.parse_args()

    from rich.console import Console
    from rich.table import Table

    from vlmtune.backends import mlx as backend
    from vlmtune.data.datasets import scenes
    from vlmtune.language.prompts import build

    console = Console()
    generator = backend.load_generator(flags.model)
    rows = scenes.load(split="benchmark", seed=0, options={}, skip=print)
    prompts = [build(example, style="spatial-v1") for example in islice(rows, flags.prompts)]
    pictures = tempfile.TemporaryDirectory(prefix="vlmtune-benchmark-")
    runs = contenders(
        generator,
        prompts,
        samples=flags.samples,
        max_tokens=flags.max_tokens,
        folder=Path(pictures.name),
    )
    turns: dict[str, list[tuple[float, ...]]] = {name: [] for name in runs}
    for turn in range(flags.repeats):
        for name, run in runs.items():
            started = clocks()
            tokens = run(turn)
            pairs = zip(clocks(), started, strict=True)
            turns[name].append(tuple(tokens / (now - then) for now, then in pairs))
    medians = {
        name: tuple(statistics.median(rates) for rates in zip(*found, strict=True))
        for name, found in turns.items()
    }
    table = Table("", "tokens/s", "ours / this", "tokens/cpu s", "ours / this")
    for name, rates in medians.items():
        pairs = zip(rates, medians["vlmtune"], strict=True)
        table.add_row(name, *(f"{x:,.{d}f}" for r, o in pairs for x, d in ((r, 0), (o / r, 1))))
    console.print(
        f"{flags.prompts} prompts x {flags.samples} completions, median of {flags.repeats} turns"
    )
    console.print(table)
    steps = Table("rows side by side", "ms a step", "cpu ms a step")
    for count in flags.rows:
        found = step_seconds(generator, prompts[0], rows=count)
        steps.add_row(str(count), *(f"{seconds * 1e3:.1f}" for seconds in found))
    console.print(steps)
    pictures.cleanup()


def clocks() -> tuple[float, float]:
    """Read wall time and this process's processor time, which a busy machine distorts less."""
    return time.perf_counter(), time.process_time()


def contenders(
    generator: object, prompts: list, *, samples: int, max_tokens: int, folder: Path
) -> dict[str, Callable[[int], int]]:
    """Wrap each engine as a function from the turn's seed to the number of tokens it drew."""
    import mlx.core as mx
    import mlx_vlm
    from mlx_vlm.generate import batch_generate

    from vlmtune.models.checkpoints import flattened_folder
    from vlmtune.types import Sampling

    with flattened_folder(Path(generator.model.path)) as flat:
        network, processor = mlx_vlm.load(str(flat), trust_remote_code=False)
    if not mx.metal.is_available():
        network.set_dtype(mx.float32)  # as ours does on a CPU
    texts = templated(processor.tokenizer, prompts)
    # batch_generate applies the chat template itself, to one user text.
    plain = [
        "\n".join(message["content"][-1]["text"] for message in prompt.messages)
        for prompt in prompts
    ]
    pictures = save_pictures(prompts, folder)
    settings = {"max_tokens": max_tokens, "temperature": 1.0, "top_p": 1.0, "top_k": 0}

    def ours(turn: int) -> int:
        """Draw all groups with the house's generator; returns tokens drawn."""
        sampling = Sampling(samples=samples, max_tokens=max_tokens, temperature=1.0, seed=turn)
        groups = generator.generate(prompts, sampling)
        return sum(len(completion.token_ids) for group in groups for completion in group)

    def one_by_one(turn: int) -> int:
        """Draw every answer with a call of its own; returns tokens drawn."""
        mx.random.seed(turn)
        return sum(
            mlx_vlm.generate(
                network, processor, text, image=[picture], **settings
            ).generation_tokens
            for text, picture in zip(texts, pictures, strict=True)
            for _ in range(samples)
        )

    def batched(turn: int) -> int:
        """Draw all answers in the peer's batch, prompts repeated; returns tokens drawn."""
        mx.random.seed(turn)
        asked = [text for text in plain for _ in range(samples)]
        shown = [picture for picture in pictures for _ in range(samples)]
        response = batch_generate(
            network,
            processor,
            images=shown,
            prompts=asked,
            max_tokens=max_tokens,
            sampler=mx.random.categorical,
        )
        return response.stats.generation_tokens

    return {"vlmtune": ours, "mlx_vlm.generate": one_by_one, "mlx_vlm.batch_generate": batched}


def templated(tokenizer: Any, prompts: list) -> list[str]:
    """Write each prompt as the text that the model reads, up to where its answer begins."""
    return [
        tokenizer.apply_chat_template(
            list(prompt.messages), tokenize=False, add_generation_prompt=True
        )
        for prompt in prompts
    ]


def save_pictures(prompts: list, folder: Path) -> list[str]:
    """Write each prompt's picture to a file, the form that the peers read."""
    paths = [folder / f"{place}.png" for place in range(len(prompts))]
    for prompt, path in zip(prompts, paths, strict=True):
        prompt.images[0].open().save(path)
    return [str(path) for path in paths]


def step_seconds(generator: object, prompt: object, *, rows: int, steps: int = 30) -> list[float]:
    """Time one step at a fixed number of rows, by both clocks; prefill and end tokens left out."""
    from dataclasses import replace

    from vlmtune.backends.mlx.generate import MLXGenerator
    from vlmtune.types import Sampling

    endless = MLXGenerator(replace(generator._loaded, end_ids=frozenset()), batch_rows=rows)
    taken = []
    for length in (1, 1 + steps) * 3:
        started = clocks()
        endless.generate([prompt], Sampling(samples=rows, max_tokens=length, seed=0))
        taken.append([now - then for now, then in zip(clocks(), started, strict=True)])
    short, long = taken[0::2], taken[1::2]
    return [(min(t[i] for t in long) - min(t[i] for t in short)) / steps for i in (0, 1)]


if __name__ == "__main__":
    main()
