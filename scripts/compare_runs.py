"""Two runs of one config on two machines: courses, weights and answers side by side.

python scripts/compare_runs.py outputs/on_mac outputs/on_gpu --draw two_machines.svg
"""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
# A Python that never installed vlmtune still runs this checkout.
sys.path.insert(0, str(CHECKOUT / "src"))

from vlmtune.cli_compare import main  # noqa: E402 - the line above makes it importable

if __name__ == "__main__":
    sys.exit(main())
