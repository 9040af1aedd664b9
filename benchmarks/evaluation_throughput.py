"""Answers a second: batched through the Generator, and one by one with mlx_vlm.generate.

python benchmarks/evaluation_throughput.py --rows 48

Both answer the same questions about the same pictures with the same weights, greedily and with the
same longest answer, in one process and in turns. The plain loop runs twice: with the weights as
mlx-vlm loads them, and in float32, which is what the Generator computes with on a CPU. Prints the
median of the turns by the clock and by the processor's time, which a busy machine distorts less,
the ratios, and how many answers are equal to the batched ones.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmtune.types import Prompt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model_path", default="pico")
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--max_tokens", type=int, default=128)
    parser.add_argument("--style", choices=("direct", "think"), default="think")
    parser.add_argument("--repeats", type=int, default=3)
    flags = parser.parse_args()

    from vlmtune.evaluation.benchmarks.scenes_vsr import BENCHMARK
    from vlmtune.evaluation.run import STYLES
    from vlmtune.language import prompts
    from vlmtune.types import RowSource

    protocol = next(iter(BENCHMARK.protocols))
    built = [
        prompts.build(BENCHMARK.example(row, protocol=protocol), style=STYLES[flags.style])
        for row in BENCHMARK.rows(RowSource(count=flags.rows))
    ]
    with tempfile.TemporaryDirectory() as folder:
        ways = ways_to_answer(built, flags, Path(folder))
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        said: dict[str, list[str]] = {}
        for _ in range(flags.repeats):
            for name, answer in ways.items():
                wall, cpu = time.perf_counter(), time.process_time()
                said[name] = answer()
                taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = {
        name: tuple(statistics.median(turn) for turn in zip(*turns, strict=True))
        for name, turns in taken.items()
    }
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{flags.rows} answers, median of {flags.repeats} turns, {flags.style}, {load}")
    for name, (wall, cpu) in medians.items():
        pairs = zip(said[name], said["batched"], strict=True)
        same = sum(a.strip() == b.strip() for a, b in pairs)
        print(
            f"{name:>15}: {flags.rows / wall:6.2f} answers/s, {1e3 * cpu / flags.rows:6.1f} cpu ms "
            f"an answer; batched takes {wall / medians['batched'][0]:.2f} times less time and "
            f"{cpu / medians['batched'][1]:.2f} times less cpu; {same} of {flags.rows} equal"
        )


def ways_to_answer(
    built: "Sequence[Prompt]", flags: argparse.Namespace, folder: Path
) -> dict[str, Callable[[], list[str]]]:
    """Load the model three times and give each way of answering `built` a name."""
    from vlmtune.backends import mlx as backend
    from vlmtune.types import Sampling

    # The backend goes first: it chooses the matrix library before mlx is imported.
    generator = backend.load_generator(flags.model_path, batch_rows=flags.batch)

    import mlx.core as mx
    import mlx_vlm

    loaded, processor = mlx_vlm.load(generator.model.path)
    single, _ = mlx_vlm.load(generator.model.path)
    single.set_dtype(mx.float32)
    sampling = Sampling(max_tokens=flags.max_tokens, temperature=0.0)
    paths = [folder / f"{number}.png" for number in range(len(built))]
    for prompt, path in zip(built, paths, strict=True):
        prompt.images[0].open().save(path)
    texts = [
        processor.apply_chat_template(
            [dict(message) for message in prompt.messages],
            tokenize=False,
            add_generation_prompt=True,
        )
        for prompt in built
    ]

    def one_by_one(model: Any) -> list[str]:
        """Answer each question with a call of its own, as the peer's scripts do."""
        return [
            mlx_vlm.generate(
                model,
                processor,
                text,
                image=[str(path)],
                max_tokens=flags.max_tokens,
                temperature=0.0,
                verbose=False,
            ).text
            for text, path in zip(texts, paths, strict=True)
        ]

    return {
        "loop, as loaded": lambda: one_by_one(loaded),
        "loop, float32": lambda: one_by_one(single),
        "batched": lambda: [group[0].text for group in generator.generate(built, sampling)],
    }


if __name__ == "__main__":
    main()
