"""Write synthetic scenes as VSR or CV-Bench rows with their pictures.

python scripts/write_scenes.py --layout cv-bench --count 200 --output_dir outputs/scenes-cv
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))


def main() -> int:
    """Parse the flags and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layout", default="cv-bench", help="vsr or cv-bench")
    parser.add_argument("--count", type=int, default=200, help="rows (default 200)")
    parser.add_argument("--split", default="test", help="split of scenes (default test)")
    parser.add_argument("--seed", type=int, default=0, help="seed of scenes (default 0)")
    parser.add_argument("--output_dir", type=Path, required=True, help="new or empty folder")
    flags = parser.parse_args()

    from vlmtune.errors import VlmtuneError
    from vlmtune.scenes.export import write_rows

    try:
        path = write_rows(
            flags.output_dir,
            layout=flags.layout,
            count=flags.count,
            split=flags.split,
            seed=flags.seed,
        )
    except VlmtuneError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{flags.count} rows in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
