"""Models and adapters from one layout to another: merge, unshard, for mlx-vlm and back.

python scripts/convert.py --source pico --to transformers --output_dir outputs/pico-nested
"""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
# A Python that never installed vlmtune still runs this checkout.
sys.path.insert(0, str(CHECKOUT / "src"))

from vlmtune.cli_convert import main  # noqa: E402 - the line above makes it importable

if __name__ == "__main__":
    sys.exit(main())
