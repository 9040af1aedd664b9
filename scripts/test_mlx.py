"""Try a model on MLX: does it load, answer, see, and how fast is it.

python scripts/test_mlx.py --all
python scripts/test_mlx.py --model 3b-4bit --spatial --image photo.jpg
"""

import argparse
import sys
from pathlib import Path

# A Python that never installed vlmtune still runs this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from vlmtune.errors import VlmtuneError


def main() -> int:
    """Parse, try, and turn a user's mistake into one line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        default="pico",
        help="pico, 3b-4bit ... 32b-4bit, folder or hub id (default: %(default)s)",
    )
    parser.add_argument("--image", help="your picture, in place of a generated scene")
    parser.add_argument("--spatial", action="store_true", help="ask spatial questions")
    parser.add_argument("--all", action="store_true", help="ask everything and measure the speed")
    arguments = parser.parse_args()
    try:
        from vlmtune.backends.mlx.tryout import try_out

        return try_out(
            arguments.model,
            image=arguments.image,
            spatial=arguments.spatial or arguments.all,
            speed=arguments.all,
        )
    except VlmtuneError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
