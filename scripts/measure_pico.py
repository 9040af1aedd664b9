"""Measure pico on scenes that it never saw, and print the table of its model card.

python scripts/measure_pico.py --model pico --count 1000
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))


def main() -> int:
    """Parse the flags, measure, print Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="pico", help="alias, folder or hub id (default pico)")
    parser.add_argument("--backend", default="auto", help="auto, mlx or scripted")
    parser.add_argument("--count", type=int, default=1000, help="questions (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of scenes (default 0)")
    parser.add_argument("--style", default="spatial-v1", help="spatial-v1 or direct-v1")
    flags = parser.parse_args()

    from rich.progress import Progress

    from vlmtune.backends.select import select
    from vlmtune.evaluation.by_kind import accuracy_by_kind
    from vlmtune.rewards import CombinedRewardFunction
    from vlmtune.scenes.dataset import Scenes

    generator = select(flags.backend).backend.load_generator(flags.model)
    scenes = Scenes(split="test", seed=flags.seed)
    with Progress(transient=True) as bar:
        task = bar.add_task("answering", total=flags.count)
        results = accuracy_by_kind(
            generator,
            [scenes[index] for index in range(flags.count)],
            reward=CombinedRewardFunction(),
            style=flags.style,
            max_tokens=160,
            progress=lambda done: bar.advance(task, done),
        )
    print("| kind | n | accuracy | 95 % interval | blind guess | well-formed |")
    print("|---|---|---|---|---|---|")
    for one in results:
        low, high = one.interval
        print(
            f"| {one.kind} | {one.n} | {one.correct / one.n:.1%} | {low:.1%} to {high:.1%} "
            f"| {one.blind / one.n:.1%} | {one.well_formed / one.n:.1%} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
