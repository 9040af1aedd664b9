"""MLX against transformers in float32: ids, pixels, positions, logits, answers."""

import json
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vlmtune.backends import mlx as backend
from vlmtune.backends.mlx.generate import MLXGenerator
from vlmtune.backends.mlx.model import count_parameters, load
from vlmtune.backends.mlx.positions import mrope_positions
from vlmtune.backends.noise import noise
from vlmtune.models.resolve import PICO_FOLDER, resolve
from vlmtune.types import Finish, Prompt, Sampling

MODELS = ["tiny", "pico"] if (PICO_FOLDER / "model.safetensors").is_file() else ["tiny"]


class Reference:
    """The same checkpoint, read and run by transformers alone."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.images = Qwen2VLImageProcessorPil.from_pretrained(folder)
        self.model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()

    def inputs(self, prompt: Prompt) -> dict[str, torch.Tensor]:
        text = self.tokenizer.apply_chat_template(
            list(prompt.messages), tokenize=False, add_generation_prompt=True
        )
        features = {}
        if prompt.images:
            pictures = [image.open() for image in prompt.images]
            features = dict(self.images(images=pictures, return_tensors="pt"))
            for grid in features["image_grid_thw"]:
                count = int(grid.prod()) // 4
                text = text.replace("<|image_pad|>", "<|hole|>" * count, 1)
            text = text.replace("<|hole|>", "<|image_pad|>")
        ids = self.tokenizer(text, return_tensors="pt")["input_ids"]
        image_id = self.model.config.image_token_id
        kinds = (ids == image_id).int() if prompt.images else None
        features |= {"mm_token_type_ids": kinds} if kinds is not None else {}
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **features}

    @torch.no_grad()
    def logits(self, prompt: Prompt, answer: tuple[int, ...]) -> np.ndarray:
        """Logits of every token of an answer, float32 [T, V], from one full forward pass."""
        inputs = self.inputs(prompt)
        length = inputs["input_ids"].shape[1]
        more = torch.tensor([answer])
        inputs["input_ids"] = torch.cat([inputs["input_ids"], more], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if "mm_token_type_ids" in inputs:
            kinds = inputs["mm_token_type_ids"]
            inputs["mm_token_type_ids"] = torch.cat([kinds, torch.zeros_like(more).int()], dim=1)
        return self.model(**inputs).logits[0, length - 1 : -1].float().numpy()


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@pytest.fixture(scope="module", params=MODELS)
def folder(request, tiny_model_folder: Path) -> Path:
    return tiny_model_folder if request.param == "tiny" else PICO_FOLDER


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    return Reference(folder)


@pytest.fixture(scope="module")
def generator(folder: Path) -> MLXGenerator:
    return backend.load_generator(str(folder))


def test_prompt_ids_are_those_of_transformers(generator, reference, prompts):
    for prompt in prompts:
        expected = tuple(reference.inputs(prompt)["input_ids"][0].tolist())
        assert generator.encode(prompt, "3").prompt_ids == expected


def test_pixels_are_those_of_transformers(folder, reference, prompts):
    reader = load(resolve(str(folder))).reader
    for prompt in prompts[1:]:
        inputs, expected = reader.read(prompt), reference.inputs(prompt)
        assert inputs.grids_N3.tolist() == expected["image_grid_thw"].tolist()
        assert np.abs(inputs.pixels - expected["pixel_values"].numpy()).max() < 1e-6


def test_positions_are_those_of_transformers(folder, reference, prompts):
    reader = load(resolve(str(folder))).reader
    for prompt in prompts[1:]:
        inputs, other = reader.read(prompt), reference.inputs(prompt)
        expected, deltas = reference.model.model.get_rope_index(
            other["input_ids"],
            mm_token_type_ids=other["mm_token_type_ids"],
            image_grid_thw=other["image_grid_thw"],
        )
        positions, after = mrope_positions(
            inputs.ids_T, inputs.grids_N3, image_token_id=reader.image_token_id, merge_size=2
        )
        assert positions.tolist() == expected[:, 0].tolist()
        assert after == len(inputs.ids_T) + int(deltas[0, 0])


def test_the_first_logits_are_those_of_transformers(folder, reference, prompts):
    loaded = load(resolve(str(folder)))
    for prompt in prompts:
        logits_V = np.asarray(loaded.prefill(loaded.reader.read(prompt)).logits_V)
        assert np.abs(logits_V - reference.logits(prompt, (0,))[0]).max() < 1e-4


def test_recorded_log_probabilities_are_those_of_a_full_forward_pass(generator, reference, prompts):
    sampling = Sampling(samples=4, max_tokens=24, temperature=0.7, seed=9)
    for prompt, group in zip(prompts, generator.generate(prompts, sampling), strict=True):
        for completion in group:
            logits_TV = reference.logits(prompt, completion.token_ids) / 0.7
            expected = log_softmax(logits_TV)[np.arange(len(logits_TV)), completion.token_ids]
            assert completion.logprobs == pytest.approx(expected, abs=1e-4)


def test_scores_are_those_of_a_full_forward_pass(generator, reference, prompts):
    targets = ["3", "a longer answer that says nothing", "", "yes"]
    for prompt, target, score in zip(
        prompts, targets, generator.score(prompts, targets), strict=True
    ):
        ids = generator.encode(prompt, target).target_ids
        logits_TV = reference.logits(prompt, ids)
        expected = log_softmax(logits_TV)[np.arange(len(ids)), ids]
        assert score == pytest.approx(expected, abs=1e-4)


def suppressed(generator: MLXGenerator) -> list[int]:
    return list(generator._loaded.suppressed)


def test_greedy_answers_are_those_of_transformers(generator, reference, prompts):
    sampling = Sampling(max_tokens=24, temperature=0)
    for prompt, group in zip(prompts, generator.generate(prompts, sampling), strict=True):
        inputs = reference.inputs(prompt)
        ids = reference.model.generate(
            **inputs,
            max_new_tokens=24,
            do_sample=False,
            suppress_tokens=suppressed(generator),
            eos_token_id=sorted(generator._loaded.end_ids),
            pad_token_id=0,
        )[0, inputs["input_ids"].shape[1] :]
        assert group[0].token_ids == tuple(ids.tolist())


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_does_not_depend_on_the_batch_it_sits_in(generator, prompts, temperature):
    sampling = Sampling(samples=3, max_tokens=20, temperature=temperature, seed=4)
    loaded = generator._loaded
    alone = [
        MLXGenerator(loaded, batch_rows=1).generate([prompt], sampling)[0] for prompt in prompts
    ]
    for batch_rows in (5, 64):
        together = MLXGenerator(loaded, batch_rows=batch_rows).generate(prompts, sampling)
        for one, other in zip(alone, together, strict=True):
            assert [c.token_ids for c in one] == [c.token_ids for c in other]
            for single, shared in zip(one, other, strict=True):
                assert single.logprobs == pytest.approx(shared.logprobs, abs=1e-4)


def distance_from_a_tie(logits_V, *, sampling, suppressed, uniform, tokens) -> float:
    """How far a drawn number is from the totals that lie between two tokens, as a probability."""
    scaled_V = logits_V.astype(np.float64) / sampling.temperature
    scaled_V[suppressed] = -np.inf
    weights_V = np.exp(scaled_V - scaled_V.max())
    totals_V = np.cumsum(weights_V) / weights_V.sum()
    return float(np.abs(totals_V[min(tokens) : max(tokens)] - uniform).max())


def test_rows_that_end_early_make_room_for_those_that_wait(generator, reference, prompts):
    # A token is the first whose total exceeds the drawn number. Batches of unlike sizes round
    # logits unlike, by a few millionths, so a number that close to a total may draw either
    # neighbour. Long nonsense at a high temperature meets one now and then: a draw of 0.904471874
    # beside a total of 0.904471838. Any other difference is a row that read what is not its own.
    sampling = Sampling(samples=8, max_tokens=80, temperature=1.5, seed=1)
    small = MLXGenerator(generator._loaded, batch_rows=5).generate(prompts, sampling)
    large = generator.generate(prompts, sampling)
    lengths = {len(c.token_ids) for group in large for c in group}
    # The premise: rows do end at different steps, so that places fall free before the last one.
    assert len(lengths) > 1
    ties = []
    for prompt, ones, others in zip(prompts, small, large, strict=True):
        for sample, (one, other) in enumerate(zip(ones, others, strict=True)):
            pairs = zip(one.token_ids, other.token_ids, strict=False)
            step = next((i for i, (x, y) in enumerate(pairs) if x != y), None)
            if step is None:
                assert one.token_ids == other.token_ids
                continue
            stream = noise(seed=1, example_id=prompt.example_id, sample=sample, count=80)
            # The same draw, computed by transformers in one full pass over what was said so far.
            ties.append(
                distance_from_a_tie(
                    reference.logits(prompt, one.token_ids[: step + 1])[step],
                    sampling=sampling,
                    suppressed=suppressed(generator),
                    uniform=float(stream[step]),
                    tokens=(one.token_ids[step], other.token_ids[step]),
                )
            )
    assert len(ties) <= 2
    assert max(ties, default=0.0) < 1e-5


def test_equal_prompts_are_computed_once(generator, prompts, monkeypatch):
    computed = []
    original = type(generator._loaded).prefill_together

    def counting(self, several):
        computed.extend(several)
        return original(self, several)

    twice = MLXGenerator(generator._loaded, batch_rows=4)
    twice.generate(prompts, Sampling(max_tokens=1))  # whether prompts go together is tried once
    monkeypatch.setattr(type(generator._loaded), "prefill_together", counting)
    sampling = Sampling(samples=9, max_tokens=3, seed=0)
    twice.generate([*prompts, prompts[1]], sampling)
    assert len(computed) == 4


def test_end_tokens_come_from_the_config_the_generation_config_and_the_tokenizer(
    tiny_model_folder, generator, folder
):
    vocabulary = AutoTokenizer.from_pretrained(folder).get_vocab()
    assert vocabulary["<|im_end|>"] in generator._loaded.end_ids
    if folder == tiny_model_folder:
        both = {vocabulary["<|im_end|>"], vocabulary["<|endoftext|>"]}
        assert generator._loaded.end_ids == both


def altered(source: Path, target: Path, change) -> Path:
    """Copy a model folder with other weights."""
    target.mkdir()
    for path in source.iterdir():
        if path.name != "model.safetensors":
            (target / path.name).write_bytes(path.read_bytes())
    weights = load_file(source / "model.safetensors")
    change(weights)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
def test_tokens_that_stand_for_pixels_are_never_drawn(
    tiny_model_folder, tmp_path, prompts, temperature
):
    vocabulary = AutoTokenizer.from_pretrained(tiny_model_folder).get_vocab()
    names = ["vision_start", "vision_end", "vision_pad", "image_pad", "video_pad"]
    forbidden = [vocabulary[f"<|{name}|>"] for name in names]

    def make_them_dominate(weights):
        # Both signs of a long row: whatever the hidden state, one of them beats every other token.
        head = weights["lm_head.weight"]
        for place, token in enumerate(forbidden):
            head[token] = (-1.0) ** place * 50.0 * head[40]

    folder = altered(tiny_model_folder, tmp_path / "loud", make_them_dominate)
    generator = backend.load_generator(str(folder))
    logits_V = np.asarray(
        generator._loaded.prefill(generator._loaded.reader.read(prompts[0])).logits_V
    )
    assert int(logits_V.argmax()) in forbidden
    sampling = Sampling(samples=4, max_tokens=20, temperature=temperature, seed=1)
    for group in generator.generate(prompts, sampling):
        for completion in group:
            assert not set(completion.token_ids) & set(forbidden)


def test_every_published_end_token_stops_a_row(tiny_model_folder, tmp_path, prompts):
    vocabulary = AutoTokenizer.from_pretrained(tiny_model_folder).get_vocab()
    end = vocabulary["<|endoftext|>"]

    def end_at_once(weights):
        weights["lm_head.weight"] *= 0.0
        weights["model.norm.weight"] *= 0.0

    folder = altered(tiny_model_folder, tmp_path / "ending", end_at_once)
    # All logits are 0, so the likeliest is the first allowed id, which is <|endoftext|>.
    completion = backend.load_generator(str(folder)).generate(
        prompts[:1], Sampling(max_tokens=5, temperature=0)
    )[0][0]
    assert end == 0
    assert (completion.token_ids, completion.text) == ((end,), "")
    assert completion.finish is Finish.STOP
    assert completion.logprobs == pytest.approx([-np.log(len(vocabulary))], abs=1e-5)


def test_quantised_weights_generate_and_are_counted_unpacked(tiny_model_folder, prompts):
    loaded = load(resolve(str(tiny_model_folder)))
    full = loaded.info.parameters
    nn.quantize(loaded.network.language_model, group_size=64, bits=8)
    mx.eval(loaded.network.parameters())
    generator = MLXGenerator(loaded)
    answers = generator.generate(prompts, Sampling(samples=2, max_tokens=6, seed=0))
    assert [len(group) for group in answers] == [2] * 4
    assert count_parameters(loaded.network) == full


def test_sixteen_bit_weights_give_nearly_the_logits_of_the_full_ones(
    tiny_model_folder, tmp_path, prompts
):
    def halve(weights):
        for name, weight in weights.items():
            weights[name] = weight.astype(np.float16)

    folder = altered(tiny_model_folder, tmp_path / "half", halve)
    full, half = (load(resolve(str(path))) for path in (tiny_model_folder, folder))
    inputs = full.reader.read(prompts[1])
    difference = full.prefill(inputs).logits_V - half.prefill(inputs).logits_V
    assert 0 < float(mx.abs(difference).max()) < 0.05


def test_the_users_folder_is_not_written(tiny_model_folder):
    before = {path.name: path.stat().st_mtime_ns for path in tiny_model_folder.iterdir()}
    config = json.loads((tiny_model_folder / "config.json").read_text())
    assert "text_config" in config
    backend.load_generator(str(tiny_model_folder))
    after = {path.name: path.stat().st_mtime_ns for path in tiny_model_folder.iterdir()}
    assert after == before
