"""Does GRPO alone teach pico, whatever the seed?

python benchmarks/grpo_seeds.py --seeds 1 2 3 --output_dir ./outputs/grpo_seeds

Runs the pipeline of `grpo_seeds.yaml` once a seed, as a user would from the shell; a seed that is
finished already is not run again. The seed decides rows, their order, the new adapter and draws.
Prints how the reward and the answers to held-out questions changed, and draws both.

The reward of an update is the mean of the groups that it learned from. Flat groups were replaced
where possible, which keeps this mean near one half; it rises all the same when answers improve.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))


def main() -> int:
    """Run what is not there yet, print and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--backend", default="pytorch", help="pytorch or mlx (default pytorch)")
    parser.add_argument("--output_dir", type=Path, default=Path("outputs/grpo_seeds"))
    parser.add_argument("--draw", type=Path, help="where to write the drawing, an .svg")
    flags = parser.parse_args()
    reports = {}
    for seed in flags.seeds:
        folder = flags.output_dir / f"seed_{seed}"
        if not _is_done(folder):
            command = [
                sys.executable, str(HERE.parent / "scripts" / "train.py"),
                "--config", str(HERE / "grpo_seeds.yaml"), "--backend", flags.backend,
                "--output_dir", str(folder), "--set", f"seed={seed}",
            ]  # fmt: skip
            subprocess.run(command, check=True)
        reports[f"seed {seed}"] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    _print(reports)
    path = flags.draw or flags.output_dir / "grpo_seeds.svg"
    path.write_text(_drawing(reports), encoding="utf-8")
    print(f"\ndrawn: {path}")
    return 0


def _is_done(folder: Path) -> bool:
    report = folder / "report.json"
    return report.is_file() and json.loads(report.read_text(encoding="utf-8"))["status"] == "done"


def _print(reports: Mapping[str, Any]) -> None:
    print("| seed | updates | reward at first | at the end | rise, 95 % interval | flat groups "
          "| right before | right after | 95 % interval | McNemar p |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, report in reports.items():
        curves = report["stages"][0]["curves"]
        rewards = [value for _, value in curves["reward/mean"]]
        flat = [value for _, value in curves["reward/flat_groups"]]
        part = max(2, len(rewards) // 6)
        first, last = rewards[:part], rewards[-part:]
        rise, width = _rise(first, last)
        before, after = (next(iter(one["benchmarks"].values())) for one in report["models"])
        paired = next(iter(report["models"][1]["paired"].values()))
        low, high = after["wilson95"]
        print(
            f"| {name} | {len(rewards)} | {statistics.mean(first):.3f} "
            f"| {statistics.mean(last):.3f} "
            f"| {rise:+.3f}, {rise - width:+.3f} to {rise + width:+.3f} "
            f"| {statistics.mean(flat[:part]):.0%} to {statistics.mean(flat[-part:]):.0%} "
            f"| {before['accuracy']:.1%} of {before['n']} | {after['accuracy']:.1%} "
            f"| {low:.1%} to {high:.1%} | {paired['mcnemar_p']:.2g} |"
        )


def _rise(first: list[float], last: list[float]) -> tuple[float, float]:
    """Mean difference and half the width of its 95 % interval (Welch)."""
    from scipy import stats

    found = stats.ttest_ind(last, first, equal_var=False)
    rise = statistics.mean(last) - statistics.mean(first)
    half = found.confidence_interval(0.95).high - rise
    return rise, half if math.isfinite(half) else math.inf


def _drawing(reports: Mapping[str, Any]) -> str:
    from vlmtune.reports.pipeline_plots import Mark, Track, figure
    from vlmtune.reports.plots import Range

    def mark(name: str, one: Mapping[str, Any]) -> Mark:
        """Write an accuracy and its 95 % interval as a mark of the plot."""
        low, high = one["wilson95"]
        return Mark(name=name, range=Range(value=one["accuracy"], low=low, high=high))

    shares = {
        name: [next(iter(model["benchmarks"].values())) for model in report["models"]]
        for name, report in reports.items()
    }
    base = next(iter(shares.values()))[0]
    marks = [mark("base", base), *(mark(name, found[-1]) for name, found in shares.items())]
    tracks = {
        name: Track(
            title="mean reward",
            points=tuple((int(s), v) for s, v in report["stages"][0]["curves"]["reward/mean"]),
        )
        for name, report in reports.items()
    }
    title = f"right answers to {base['n']:,} held-out questions, before and after GRPO alone"
    return figure(marks, tracks, title=title)


if __name__ == "__main__":
    sys.exit(main())
