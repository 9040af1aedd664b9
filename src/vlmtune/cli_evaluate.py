"""The command line of scripts/evaluate.py, in three modes.

    --model_path pico --benchmarks scenes-vsr       ask a model, grade, report
    --predictions FILE --benchmarks CV-Bench        grade saved answers, no model
    --compare eval_base eval_tuned                  two evaluations, question by question

A flag that a mode cannot use is refused, never ignored. Nothing heavy is imported for --help.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from vlmtune.cli_evaluate_steps import (
    ALLOWED,
    COMPARE,
    MODEL,
    OUTPUT,
    PREDICTIONS,
    USUAL_BATCH,
    USUAL_BENCHMARKS,
    USUAL_TOKENS,
    Request,
    run,
)
from vlmtune.cli_messages import flag_parser, read_flags, run_script
from vlmtune.errors import ConfigError

if TYPE_CHECKING:
    from vlmtune.config import RunConfig

SCRIPT = "scripts/evaluate.py"
EXAMPLE = f"python {SCRIPT} --model_path pico --benchmarks scenes-vsr --max_samples 100"
CONFIG: Mapping[str, str] = MappingProxyType(
    {
        "seed": "seed",
        "evaluation.seed": "seed",
        "backend": "backend",
        "output_dir": "output_dir",
        "evaluation.benchmarks": "benchmarks",
        "evaluation.max_samples": "max_samples",
        "evaluation.style": "style",
        "evaluation.protocol": "protocol",
        "evaluation.max_tokens": "max_tokens",
        "evaluation.batch_size": "batch",
    }
)
"""Setting -> the flag that says the same; model.name is --model_path."""
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "use_4bit": "quantising while loading needs CUDA, which this version does not evaluate on; "
        "take weights that are 4-bit already, such as --model_path 3b-4bit",
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script.

    Args:
        argv: Arguments; default those of the process.

    Returns:
        The exit code: 0 done, 1 the run failed, 2 a user's mistake, 130 Ctrl-C.
    """
    return run_script(
        argv,
        help_text=lambda: f"{EXAMPLE}\n\n{_parser().format_help()}",
        work=lambda words: run(parse(words)),
        interrupted="run the same command again to go on",
    )


def parse(words: Sequence[str]) -> Request:
    """Read the command line.

    Raises:
        ConfigError: If a flag is unknown, lacks its value, or means nothing in this mode.
    """
    found = read_flags(_parser(), words)
    given = {name: value for name, value in vars(found).items() if value is not None}
    for name, reason in REFUSED.items():
        if name in given:
            raise ConfigError(f"flag '--{name}' is not supported: {reason}")
    mode = COMPARE if "compare" in given else PREDICTIONS if "predictions" in given else MODEL
    held_out = None
    if mode == MODEL and "config" in given:
        config, asked = _of_config(given.pop("config"), given.pop("set", []))
        if config.evaluation.datasets and "benchmarks" not in given:
            held_out = config
        given = {**asked, **given}
    if useless := [name for name in given if name not in ALLOWED[mode]]:
        raise ConfigError(f"--{useless[0]} means nothing together with {mode}; leave it out")
    if mode == MODEL and not {"model_path", "adapter_path"} & set(given):
        raise ConfigError(
            "--model_path is missing: pico, an alias such as 3b-4bit, a folder or a hub id; "
            "or grade saved answers with --predictions, or compare with --compare"
        )
    for name in ("max_samples", "batch", "max_tokens"):
        if given.get(name, 1) < 1:
            raise ConfigError(f"--{name} is {given[name]}; it should be at least 1")
    if given.get("seed", 0) < 0:
        raise ConfigError(f"--seed is {given['seed']}; it should be 0 or more")
    return Request(mode=mode, given=given, held_out=held_out)


def _of_config(path: Path, overrides: Sequence[str]) -> tuple["RunConfig", dict[str, object]]:
    """Read what a config says about evaluations, and tell what else is in it.

    Raises:
        ConfigError: If the file or a setting cannot be used.
    """
    from vlmtune import config_consumers, config_file, config_pipeline

    # An evaluation belongs to no stage; a config needs one, and here it decides nothing.
    if config_pipeline.is_pipeline(path):
        found = config_pipeline.load_pipeline(path, overrides=overrides, environment=os.environ)
        resolved = found.shared
    else:
        resolved = config_file.resolve(
            path, overrides=overrides, fallbacks={"stage": "sft"}, environment=os.environ
        )
    unread = config_consumers.check(resolved.config, config_consumers.EVALUATE)
    for note in (*resolved.translations, *resolved.left, *unread):
        print(f"note: {note}")
    changed = {
        key: value
        for key, value, default in config_consumers.settings(resolved.config)
        if value != default and key in CONFIG
    }
    asked = {CONFIG[key]: value for key, value in changed.items()}
    if "output_dir" in asked:
        asked["output_dir"] = Path(asked["output_dir"])
    return resolved.config, {"model_path": resolved.config.model.name, **asked}


def _parser() -> argparse.ArgumentParser:
    parser = flag_parser(
        SCRIPT,
        usage="[flags]",
        epilog="Dashes work too: --max-samples. Exit codes: 0 ok, 1 failed, 2 a wrong setting. "
        "The same command again resumes a run that was stopped.",
    )
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE",
        help="YAML with model.name and the section evaluation, stages too; flags win")  # fmt: skip
    add("--set", action="append", metavar="KEY=VALUE", help="any setting of that file")
    add(
        "--model_path", metavar="NAME", help="pico, an alias (3b-4bit), hub id, model folder or run"
    )
    add("--benchmarks", nargs="+", metavar="NAME",
        help="VSR VSR-random CV-Bench Robo2VLM ViVQA-X scenes-vsr scenes-cv-bench, or a .py file; "
        f"without it {' '.join(USUAL_BENCHMARKS)}")  # fmt: skip
    add("--max_samples", type=int, metavar="N", help="rows of each benchmark, drawn by the seed")
    add(
        "--style", choices=("direct", "think"), help="bare answers (usual), or <think> and <answer>"
    )
    add("--protocol", metavar="NAME",
        help="how VSR asks: generate-yes-no (usual), generate-true-false, likelihood; "
        "CV-Bench: generate (usual), generate-official")  # fmt: skip
    add("--data", type=Path, metavar="PATH",
        help="rows of the one benchmark: .jsonl, .json, .parquet or a folder")  # fmt: skip
    add("--image_folder", type=Path, metavar="FOLDER", help="where the rows' picture names start")
    add("--backend", metavar="NAME", help="auto (usual), mlx, pytorch or scripted")
    add("--batch", type=int, metavar="N", help=f"rows decoded side by side ({USUAL_BATCH})")
    add("--max_tokens", type=int, metavar="N", help=f"longest answer ({USUAL_TOKENS})")
    add("--seed", type=int, metavar="N", help="which rows --max_samples and scenes draw (0)")
    add("--output_dir", type=Path, metavar="FOLDER", help=f"where to write (./{OUTPUT})")
    add("--predictions", type=Path, metavar="FILE",
        help="grade these answers, no model: the benchmark's columns and 'completion'")  # fmt: skip
    add("--compare", nargs=2, type=Path, metavar=("A", "B"),
        help="two evaluations' folders: is B better than A?")  # fmt: skip
    add("--adapter_path", metavar="FOLDER",
        help="run, checkpoint or adapter to put on the model, or on the one it names")  # fmt: skip
    add("--use_vllm", action="store_const", const=True,
        help="ask with vLLM, which backend pytorch starts; see docs/vllm.md")  # fmt: skip
    add("--use_4bit", action="store_const", const=True,
        help="not supported; take a 4-bit model such as 3b-4bit")  # fmt: skip
    return parser
