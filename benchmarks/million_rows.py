"""Time and memory of a manifest of a million rows with pictures by path.

python benchmarks/million_rows.py --rows 1000000

Prints, for reading alone and (with --load) for loading a run with a fifth set aside: seconds to the
first Example, seconds for all, processor seconds, and the most memory that the process held.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))


def write_manifest(path: Path, count: int) -> None:
    """Write rows that differ in question, answer and picture; a thousand pictures exist."""
    for number in range(1000):
        (path.parent / f"{number:06d}.jpg").write_bytes(b"not opened here")
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            row = {
                "id": f"kitchen/{number:07d}",
                "image": f"{number % 1000:06d}.jpg",
                "prompt": f"How many cups stand on table {number} beside the window?",
                "answer": str(number % 10),
            }
            file.write(json.dumps(row) + "\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--load", action="store_true", help="hold all rows, as a run does")
    flags = parser.parse_args()

    from vlmtune.config import DataConfig, DatasetConfig, RunConfig
    from vlmtune.data.datasets import jsonl
    from vlmtune.data.training_sets import load_training_sets
    from vlmtune.types import Stage

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        write_manifest(path, flags.rows)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, worked = time.perf_counter(), time.process_time()
        rows = jsonl.load(split="train", seed=0, options={"path": str(path)}, skip=print)
        next(rows)
        first = time.perf_counter() - start
        if flags.load:
            data = DataConfig(datasets=[DatasetConfig(name=str(path))], max_samples=None)
            config = RunConfig(stage=Stage.SFT, data=data)
            kept = len(load_training_sets(config, verify_images=False).read.examples)
        else:
            kept = 1 + sum(1 for _ in rows)
        seconds, work = time.perf_counter() - start, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1024 if sys.platform == "linux" else 1024 * 1024
    print(
        f"{'loaded' if flags.load else 'read'} {kept:,} rows: first after {first * 1000:.0f} ms, "
        f"all after {seconds:.1f} s ({work:.1f} s of processor), "
        f"memory {before / unit:.0f} MiB before, {peak / unit:.0f} MiB at most"
    )


if __name__ == "__main__":
    main()
