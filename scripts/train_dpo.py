"""Direct preference optimisation: chosen against rejected answers.

python scripts/train_dpo.py --debug --max_samples 5
"""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
# A Python that never installed vlmtune still runs this checkout.
sys.path.insert(0, str(CHECKOUT / "src"))

from vlmtune.cli import main  # noqa: E402 - the line above makes it importable

if __name__ == "__main__":
    sys.exit(main("dpo", checkout=CHECKOUT))
