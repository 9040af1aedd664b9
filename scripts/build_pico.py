"""Make pico, the embedded model, from nothing: tokenizer, training, folder. Hours of CPU.

python scripts/build_pico.py --work outputs/pico --folder outputs/pico/model
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))


def main() -> int:
    """Parse the flags and run the recipe; a killed run goes on where it was."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("outputs/pico"), help="checkpoints, log")
    parser.add_argument("--folder", type=Path, default=Path("outputs/pico/model"), help="result")
    parser.add_argument("--vision_batches", type=int, help="lessons for the vision tower")
    parser.add_argument("--few_batches", type=int, help="lessons with questions about few things")
    parser.add_argument("--many_batches", type=int, help="lessons with questions about many things")
    parser.add_argument(
        "--tokenizer", type=Path, help="folder of a tokenizer to use instead of training one"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    from rich.console import Console
    from transformers import PreTrainedTokenizerFast

    from vlmtune.backends.pytorch.pico.architecture import save_folder
    from vlmtune.backends.pytorch.pico.tokenizer import train_tokenizer
    from vlmtune.backends.pytorch.pico.training import Recipe, train

    lengths = {
        name: value
        for name in ("vision_batches", "few_batches", "many_batches")
        if (value := getattr(arguments, name)) is not None
    }
    tokenizer = (
        PreTrainedTokenizerFast.from_pretrained(arguments.tokenizer)
        if arguments.tokenizer
        else train_tokenizer()
    )
    pupil = train(Recipe(seed=arguments.seed, **lengths), tokenizer, arguments.work, Console())
    save_folder(pupil.model, tokenizer, arguments.folder)
    print(f"pico is in {arguments.folder}; measure it with scripts/measure_pico.py")
    return 0


if __name__ == "__main__":
    sys.exit(main())
