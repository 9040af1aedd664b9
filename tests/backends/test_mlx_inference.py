import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from vlmtune import MLXInference
from vlmtune.errors import CheckpointError, ConfigError, DataError
from vlmtune.types import Sampling


@pytest.fixture(scope="module")
def model(tiny_model_folder) -> MLXInference:
    return MLXInference(str(tiny_model_folder))


@pytest.fixture
def picture(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 100, 3)).astype(np.uint8)
    path = tmp_path / "picture.png"
    PIL.Image.fromarray(pixels).save(path)
    return path


def test_a_prompt_without_a_picture_is_answered(model):
    assert isinstance(model.generate("How many?", max_tokens=8), str)


def test_a_path_a_string_and_an_open_picture_give_the_same_answer(model, picture):
    asked = ("Describe the spatial relationships.",)
    answers = {
        model.generate(*asked, image=str(picture), max_tokens=8),
        model.generate(*asked, image=picture, max_tokens=8),
        model.generate(*asked, image=PIL.Image.open(picture), max_tokens=8),
        model.generate(*asked, image=[picture], max_tokens=8),
    }
    assert len(answers) == 1


def test_the_picture_matters(model, picture):
    sampling = Sampling(max_tokens=8, temperature=0)
    with_picture = model.complete("How many?", picture, sampling=sampling)
    without = model.complete("How many?", sampling=sampling)
    assert with_picture.token_ids != without.token_ids


def test_the_temperature_and_seed_reach_the_sampler(model):
    drawn = {model.generate("?", max_tokens=8, temperature=1.0, seed=seed) for seed in range(5)}
    assert len(drawn) > 1


def test_max_tokens_bounds_the_answer(model):
    completion = model.complete("How many?", sampling=Sampling(max_tokens=3))
    assert len(completion.token_ids) <= 3


def test_the_same_question_twice_gets_the_same_answer(model, picture):
    first = model.generate("How many?", picture, max_tokens=8)
    model.generate("Something else, without a picture", max_tokens=8)
    assert model.generate("How many?", picture, max_tokens=8) == first


def test_a_missing_picture_is_a_data_error(model):
    with pytest.raises(DataError, match=r"nowhere\.jpg"):
        model.generate("How many?", image="nowhere.jpg")


def test_an_unknown_alias_is_a_config_error():
    with pytest.raises(ConfigError, match="did you mean '3b-4bit'"):
        MLXInference("3b-4bits")


def test_damaged_weights_are_one_line(tiny_model_folder, tmp_path):
    for path in tiny_model_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 1000)
    with pytest.raises(CheckpointError, match="cannot be loaded") as caught:
        MLXInference(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_are_one_line(tiny_model_folder, tmp_path):
    for path in tiny_model_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = (tmp_path / "config.json").read_text()
    wider = config.replace('"intermediate_size": 384', '"intermediate_size": 400')
    (tmp_path / "config.json").write_text(wider)
    with pytest.raises(CheckpointError, match="cannot be loaded") as caught:
        MLXInference(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_an_image_placeholder_typed_into_the_question_is_a_data_error(model, picture):
    with pytest.raises(DataError, match="1 images but 2 image placeholders"):
        model.generate("What is <|image_pad|>?", picture)


def test_importing_the_package_loads_no_engine():
    code = (
        "import sys, vlmtune, vlmtune.backends.mlx, vlmtune.backends.select\n"
        "engines = ('torch', 'mlx', 'mlx_vlm', 'transformers')\n"
        "print([name for name in engines if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
