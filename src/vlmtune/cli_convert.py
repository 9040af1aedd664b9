"""The command line of scripts/convert.py: models and adapters from one layout to another.

    --source outputs/sft --to merged            an adapter added to its model
    --source outputs/sft --to mlx-vlm           an adapter for mlx-vlm's --adapter-path
    --source full_weights.pt --model_path pico  an engine's weights as a model folder
    --config fsdp_model_convertor.yaml          the same, as another converter's file says it

Nothing heavy is imported for --help.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmtune.cli_messages import flag_parser, read_flags, run_script
from vlmtune.errors import ConfigError

if TYPE_CHECKING:
    from vlmtune.training.conversion import Conversion

SCRIPT = "scripts/convert.py"
EXAMPLE = f"python {SCRIPT} --source pico --to transformers --output_dir outputs/pico-nested"
FROM_FILE: Mapping[str, str] = {
    "convertor.ckpt_path": "source",
    "convertor.save_path": "output_dir",
    "model.model_path": "model_path",
    "model.model_type": "model_type",
}
"""Key of another converter's file -> the flag that says the same."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script.

    Args:
        argv: Arguments; default those of the process.

    Returns:
        The exit code: 0 written, 1 what was written is not what it should be, 2 a user's mistake,
        130 Ctrl-C.
    """
    return run_script(
        argv,
        help_text=lambda: f"{EXAMPLE}\n\n{_parser().format_help()}",
        work=lambda words: _run(parse(words)),
        interrupted="nothing was written",
    )


def parse(words: Sequence[str]) -> "Conversion":
    """Read the command line.

    Raises:
        ConfigError: If a flag is unknown, lacks its value or has an impossible one.
    """
    found = read_flags(_parser(), words)
    given: dict[str, Any] = {
        name: value for name, value in vars(found).items() if value is not None
    }
    if "config" in given:
        given = {**_of_file(given.pop("config")), **given}
    for name in ("source", "output_dir"):
        if name not in given:
            raise ConfigError(f"--{name} is missing; {EXAMPLE}")
    if not 0 < given.get("tolerance", 1) <= 1:
        raise ConfigError(f"--tolerance is {given['tolerance']}; it should be above 0, up to 1")
    from vlmtune.training.conversion import Conversion

    return Conversion(
        source=given["source"],
        to=given.get("to"),
        model=given.get("model_path"),
        folder=Path(given["output_dir"]).expanduser(),
        dtype=given.get("dtype"),
        backend=given.get("backend", "auto"),
        tolerance=given.get("tolerance"),
        logits="skip_logits" not in given,
    )


def _of_file(path: Path) -> dict[str, Any]:
    """Read the file of another converter.

    Raises:
        ConfigError: If it has a key that means nothing here, or lacks one.
    """
    from vlmtune import config_yaml

    keys = {
        f"{section}.{key}" if isinstance(values, dict) else section: value
        for section, values in config_yaml.read(path).values.items()
        for key, value in (values if isinstance(values, dict) else {"": values}).items()
    }
    for key in keys:
        if key not in FROM_FILE:
            raise ConfigError(
                f"{path}: {key} means nothing to a conversion; it has {', '.join(FROM_FILE)}"
            )
    if missing := [
        key for key in ("convertor.ckpt_path", "convertor.save_path") if key not in keys
    ]:
        raise ConfigError(f"{path} has no {missing[0]}")
    given = {FROM_FILE[key]: str(value) for key, value in keys.items()}
    for key, value in keys.items():
        print(f"note: {key}: {value} is --{FROM_FILE[key]}")
    _check_type(given.pop("model_type", None), given.get("model_path"))
    return given


def _check_type(wanted: str | None, model: str | None) -> None:
    """Hold the architecture that a file names against the model's own."""
    if wanted is None or model is None or not (Path(model) / "config.json").is_file():
        return
    from vlmtune.models.checkpoints import read_json

    found = str(read_json(Path(model) / "config.json").get("model_type"))
    if _letters(wanted) != _letters(found):
        raise ConfigError(
            f"model.model_type is {wanted}, and {model} is a {found}; name the model that was "
            "trained as model.model_path"
        )


def _letters(name: str) -> str:
    return "".join(sign for sign in name.lower() if sign.isalnum())


def _parser() -> argparse.ArgumentParser:
    parser = flag_parser(
        SCRIPT,
        usage="--source WHAT --output_dir FOLDER [flags]",
        epilog="Dashes work too: --output-dir. Exit codes: 0 written, 1 what was written is not "
        "what it should be, 2 a wrong setting. Nothing is overwritten; nothing is left behind "
        "where a conversion fails.",
    )
    add = parser.add_argument
    add("--source", metavar="WHAT",
        help="a run, checkpoint or adapter; an adapter of mlx-vlm; full_weights.pt; a folder of "
        "shards (FSDP, DeepSpeed); a model folder")  # fmt: skip
    add("--to", choices=("merged", "peft", "mlx-vlm", "transformers"),
        help="adapter: merged or mlx-vlm; adapter of mlx-vlm: peft or merged; model folder: "
        "transformers (nested config) or mlx-vlm (flat); shards: transformers")  # fmt: skip
    add("--output_dir", metavar="FOLDER", help="where to write; must not exist")
    add("--model_path", metavar="NAME",
        help="the model below an adapter, where the adapter does not say; the model that weights "
        "or shards were trained from")  # fmt: skip
    add("--dtype", choices=("fp32", "bf16", "fp16"), help="format of the weights; usually as below")
    add("--backend", metavar="NAME", help="what computes the logits compared: auto, mlx, pytorch")
    add("--tolerance", type=float, metavar="SHARE",
        help="how far merged logits may miss, as a share of what the adapter moves "
        "(0.001 for fp32, 0.05 for 16 bits)")  # fmt: skip
    add("--skip_logits", action="store_const", const=True, help="merge without comparing logits")
    add("--config", type=Path, metavar="FILE",
        help="a converter's YAML: convertor.ckpt_path, convertor.save_path, model.model_path, "
        "model.model_type; flags win")  # fmt: skip
    return parser


def _run(conversion: "Conversion") -> int:
    from rich.console import Console

    from vlmtune.training.conversion import convert

    convert(conversion, Console(soft_wrap=True, highlight=False))
    return 0
