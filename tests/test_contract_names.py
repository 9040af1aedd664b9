"""Every name that other tools' users were promised is used, translated, settled or refused."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vlmtune import cli_flags, config_docs, discovery, rewards
from vlmtune.models.families.qwen2_5_vl import FAMILY

CHECKOUT = Path(__file__).parents[1]
NAMES = yaml.safe_load(
    (Path(__file__).parent / "fixtures" / "contract_names.yaml").read_text(encoding="utf-8")
)
KEYS = [(tool, key) for tool, keys in NAMES["keys"].items() for key in keys]
TITLES = {
    "nanovlm_lab": "### NanoVLM-Lab",
    "rlinf": "### RLinf",
    "vlm_r1": "### VLM-R1",
    "qwenvl_sandbox": "### qwenvl_sandbox",
}


def section(tool: str) -> str:
    """The part of docs/config.md that is about a tool."""
    text = (CHECKOUT / "docs" / "config.md").read_text(encoding="utf-8")
    return text.partition(TITLES[tool])[2].partition("\n### ")[0]


def test_the_list_names_every_tool() -> None:
    assert set(NAMES["keys"]) == set(TITLES)
    assert len(KEYS) > 190


@pytest.mark.parametrize(("tool", "key"), KEYS, ids=str)
def test_a_promised_key_is_accounted_for_and_documented(tool: str, key: str) -> None:
    what, said = config_docs.outcome(key)
    assert what in {"used", "translated", "settled", "refused"}
    assert said
    assert f"| `{key}` | {what} |" in section(tool)


def test_a_key_that_nobody_promised_is_unknown() -> None:
    assert config_docs.outcome("grpo.num_generation") == ("unknown", "")


def test_the_page_is_what_the_config_says() -> None:
    written = (CHECKOUT / "docs" / "config.md").read_text(encoding="utf-8")
    assert written == config_docs.page(), "docs/config.md is stale: make docs"


@pytest.mark.parametrize("script", ["train", "train_sft", "train_dpo", "train_grpo"])
def test_a_training_script_knows_its_promised_flags(script: str) -> None:
    parser = cli_flags.parser(script.partition("_")[2] or None)
    known = parser._option_string_actions
    assert [flag for flag in NAMES["flags"][script] if f"--{flag}" not in known] == []


@pytest.mark.parametrize("script", ["evaluate", "test_mlx", "download_datasets"])
def test_other_scripts_know_their_promised_flags(script: str) -> None:
    done = subprocess.run(
        [sys.executable, CHECKOUT / "scripts" / f"{script}.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [flag for flag in NAMES["flags"][script] if f"--{flag} " not in done.stdout] == []


def test_promised_columns_are_documented_as_row_shapes() -> None:
    text = (CHECKOUT / "docs" / "datasets.md").read_text(encoding="utf-8")
    shapes = text.partition("## Row shapes")[2]
    missing = [name for name in NAMES["columns"] if f"`{name}`" not in shapes]
    assert [name for name in missing if f'"{name}"' not in shapes] == []


def test_promised_models_rewards_and_benchmarks_exist() -> None:
    assert set(NAMES["model_aliases"]) <= set(FAMILY.aliases["mlx"])
    assert set(NAMES["rewards"]) <= set(discovery.available("reward"))
    assert all(hasattr(rewards, name) for name in NAMES["reward_classes"])
    known = discovery.available("benchmark")
    assert all(name.replace("-", "_").lower() in known for name in NAMES["benchmarks"])
