"""Reward bench: what a reward can be gamed with, and how much it pays for it.

python scripts/audit_rewards.py --reward combined --dataset scenes
"""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
# A Python that never installed vlmtune still runs this checkout.
sys.path.insert(0, str(CHECKOUT / "src"))

from vlmtune.cli_audit import main  # noqa: E402 - the line above makes it importable

if __name__ == "__main__":
    sys.exit(main())
