"""Writes docs/parity.md: both engines compute the same assignment, and every number is compared.

python scripts/write_parity.py
"""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
# A Python that never installed vlmtune still runs this checkout.
sys.path.insert(0, str(CHECKOUT / "src"))

from vlmtune.parity.write import main  # noqa: E402 - the line above makes it importable

if __name__ == "__main__":
    sys.exit(main(docs=CHECKOUT / "docs"))
