"""QLoRA as a user does it: train over 4 bits, load in plain peft, merge, and ask the result."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from vlmtune import cli, cli_convert
from vlmtune.models.model_folder import weights_of
from vlmtune.models.resolve import PICO_FOLDER

pytest.importorskip("trl", reason="TRL needs Python 3.11")
pytest.importorskip("bitsandbytes", reason="4-bit weights are bitsandbytes'")

CHECKOUT = Path(__file__).parents[2]
SETTINGS = {
    "hardware.device": "cpu",
    "model.quantization": "4bit",
    "model.lora.rank": 4,
    "training.max_steps": 6,
    "training.batch_size": 2,
    "training.learning_rate": 5e-3,
    "training.warmup_steps": 0,
    "training.warmup_ratio": 0,
    "tracking.log_steps": 1,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("qlora") / "sft"
    words = ["--backend", "pytorch", "--max_samples", "4", "--output_dir", str(folder)]
    for key, value in SETTINGS.items():
        words += ["--set", f"{key}={value}"]
    assert cli.main("sft", checkout=CHECKOUT, argv=words) == 0
    return folder


def vision_hash(folder: Path) -> str:
    tower = {name: entry for name, entry in weights_of(folder).items() if "visual" in name}
    assert tower
    return hashlib.sha256(b"".join(tower[name].data() for name in sorted(tower))).hexdigest()


def test_the_loss_falls_over_four_bits(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 6 and np.mean(losses[-2:]) < np.mean(losses[:2])


def test_plain_peft_loads_the_adapter_over_four_bits_and_over_floats(run):
    import peft
    import torch
    import transformers

    bits = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=["model.visual", "lm_head"],
    )
    ids = torch.arange(20, 50)[None]
    for options in ({"quantization_config": bits}, {}):
        base = transformers.AutoModelForImageTextToText.from_pretrained(
            PICO_FOLDER, dtype=torch.float32, **options
        )
        with torch.no_grad():
            plain = base(ids).logits
            moved = peft.PeftModel.from_pretrained(base, run).eval()(ids).logits
        assert float((moved - plain).abs().max()) > 0.05


def test_the_adapter_merges_and_the_vision_tower_is_untouched(run, tmp_path, capsys):
    words = ["--source", str(run), "--to", "merged", "--backend", "pytorch"]
    assert cli_convert.main([*words, "--output_dir", str(tmp_path / "merged")]) == 0
    said = capsys.readouterr().out
    assert "was trained over 4bit weights, and is merged into float ones" in said
    # Seven linear layers in each of the five blocks of the language model.
    assert "changed  35 of 116 tensors" in said
    assert vision_hash(tmp_path / "merged") == vision_hash(PICO_FOLDER)
