"""One engine's process, as `write.py` starts it."""

import sys
from pathlib import Path

from vlmtune.parity.write import main

if __name__ == "__main__":
    sys.exit(main(docs=Path()))
