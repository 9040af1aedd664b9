"""Benchmarks: ask a model, or grade saved answers, or compare two evaluations.

python scripts/evaluate.py --model_path pico --benchmarks scenes-vsr --max_samples 100
"""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
# A Python that never installed vlmtune still runs this checkout.
sys.path.insert(0, str(CHECKOUT / "src"))

from vlmtune.cli_evaluate import main  # noqa: E402 - the line above makes it importable

if __name__ == "__main__":
    sys.exit(main())
