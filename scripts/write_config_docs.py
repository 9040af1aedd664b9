"""Writes docs/config.md from the config.

python scripts/write_config_docs.py
"""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
# A Python that never installed vlmtune still runs this checkout.
sys.path.insert(0, str(CHECKOUT / "src"))

from vlmtune.config_docs import page  # noqa: E402 - the line above makes it importable

if __name__ == "__main__":
    path = CHECKOUT / "docs" / "config.md"
    path.write_text(page(), encoding="utf-8")
    print(f"wrote {path.relative_to(CHECKOUT)}")
