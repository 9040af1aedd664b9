"""vLLM reads, draws and scores as transformers does, with adapters and without."""

import numpy as np
import pytest
import torch
import transformers

from vlmtune.backends import pytorch
from vlmtune.backends.pytorch.generate import TorchGenerator
from vlmtune.backends.pytorch.vllm_engine import Engine
from vlmtune.backends.pytorch.vllm_generate import final_size
from vlmtune.backends.pytorch.vllm_rollouts import Rollouts
from vlmtune.errors import CheckpointError, DataError
from vlmtune.types import Finish, Sampling

GREEDY = Sampling(max_tokens=24, temperature=0)
HOT = Sampling(samples=4, max_tokens=24, temperature=1.0, seed=7)
NARROW = Sampling(samples=4, max_tokens=24, temperature=0.7, top_p=0.9, top_k=20, seed=8)


def ids(answers):
    return [[completion.token_ids for completion in group] for group in answers]


def greatest_difference(answers, others):
    pairs = [
        (one.logprobs, other.logprobs)
        for group, group_of_others in zip(answers, others, strict=True)
        for one, other in zip(group, group_of_others, strict=True)
    ]
    return max(np.abs(np.subtract(one, other)).max() for one, other in pairs)


@pytest.mark.parametrize("sampling", [GREEDY, HOT, NARROW], ids=["greedy", "hot", "narrow"])
def test_the_same_tokens_are_drawn_as_in_transformers(generator, torch_pico, questions, sampling):
    ours, theirs = (one.generate(questions, sampling) for one in (generator, torch_pico))
    assert ids(ours) == ids(theirs)
    assert greatest_difference(ours, theirs) < 1e-4


def test_an_adapter_answers_as_in_peft(generator, engine: Engine, adapters, questions):
    with_peft = pytorch.load_generator("pico", adapter=adapters[0])
    alone = ids(generator.generate(questions, GREEDY))
    engine.adopt(adapters[0])
    for sampling in (GREEDY, HOT):
        ours, theirs = (one.generate(questions, sampling) for one in (generator, with_peft))
        assert ids(ours) == ids(theirs)
        assert greatest_difference(ours, theirs) < 1e-4
    assert ids(generator.generate(questions, GREEDY)) != alone


def test_the_next_adapter_replaces_the_one_before(generator, engine, adapters, questions):
    expected = ids(pytorch.load_generator("pico", adapter=adapters[1]).generate(questions, GREEDY))
    for folder in adapters:
        engine.adopt(folder)
        found = ids(generator.generate(questions, GREEDY))
    assert found == expected
    assert engine.llm.llm_engine.list_loras() == {engine.adapter.lora_int_id}


def test_scores_are_those_of_transformers(generator, torch_pico, questions):
    targets = ["yes", "3", "<think>red cube</think><answer>left</answer>", ""]
    ours, theirs = (one.score(questions[:4], targets) for one in (generator, torch_pico))
    for found, expected in zip(ours, theirs, strict=True):
        assert found == pytest.approx(expected, abs=1e-4)


def test_token_ids_are_those_of_training(generator, torch_pico, prompts, questions):
    # A prompt that vLLM read otherwise would have stopped the draw.
    generator.generate([*prompts, *questions], Sampling(max_tokens=1))
    for prompt in [*prompts, *questions[:4]]:
        assert generator.encode(prompt, "3") == torch_pico.encode(prompt, "3")


@pytest.mark.parametrize("size", [(112, 112), (90, 60), (200, 100), (33, 400), (640, 480), (20, 9)])
def test_a_picture_in_its_final_size_is_not_resized_again(loaded, make_noise, size):
    picture = make_noise(5, size).open()
    ours = loaded.reader.processor.image_processor
    final = final_size(picture, ours)
    theirs = transformers.AutoImageProcessor.from_pretrained(
        loaded.info.path, backend="torchvision"
    )
    seen = theirs(images=[final], return_tensors="pt")
    expected = ours(images=[picture], return_tensors="pt")
    assert torch.equal(seen["image_grid_thw"], expected["image_grid_thw"])
    torch.testing.assert_close(seen["pixel_values"], expected["pixel_values"], rtol=0, atol=1e-5)


def test_tokens_that_stand_for_pixels_are_never_drawn(generator, loaded, questions):
    # So hot that all 704 tokens are about as likely: some hundred would be among 1500 draws.
    wild = Sampling(samples=8, max_tokens=24, temperature=1000.0, seed=1)
    drawn = [token for group in ids(generator.generate(questions[:8], wild)) for one in group
             for token in one]  # fmt: skip
    assert len(set(drawn)) > 300
    assert not set(drawn) & set(loaded.suppressed)


def test_an_answer_ends_with_its_end_token(generator, loaded, questions):
    answers = generator.generate(questions[:6], Sampling(max_tokens=48, temperature=0))
    ended = [one for group in answers for one in group if one.finish is Finish.STOP]
    assert ended
    assert all(one.token_ids[-1] in loaded.end_ids for one in ended)
    assert all(not set(one.token_ids[:-1]) & loaded.end_ids for one in ended)


def test_a_call_that_was_stopped_leaves_nothing_behind(generator, questions):
    before = ids(generator.generate(questions[:4], HOT))

    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generator.generate(questions, HOT, progress=interrupt)
    assert ids(generator.generate(questions[:4], HOT)) == before


def test_a_prompt_that_is_too_long_is_named(generator, ask, questions):
    long = ask("How many? " * 3000, name="row/long")
    with pytest.raises(DataError, match=r"vLLM does not take row/long: .*4096"):
        generator.generate([questions[0], long], GREEDY)
    assert len(generator.generate(questions[:2], GREEDY)) == 2


def test_the_adapter_is_handed_over_when_it_changed_and_only_then(
    generator, engine, loaded, questions
):
    policy = Rollouts(loaded, engine, generator)
    assert policy.hand_over()
    assert policy.take_told()["vllm/sync_megabytes"] > 0.1
    assert not policy.hand_over()
    assert policy.take_told() == {}
    untrained = ids(policy.generate(questions[:6], GREEDY))
    with torch.no_grad():
        for name, weight in loaded.network.named_parameters():
            if "lora_B" in name:
                weight.normal_(0.0, 0.05)
    # Without a hand-over vLLM still answers as before, which is what the drift check would show.
    assert ids(generator.generate(questions[:6], GREEDY)) == untrained
    trained = ids(policy.generate(questions[:6], GREEDY))
    assert trained == ids(TorchGenerator(loaded).generate(questions[:6], GREEDY))
    assert trained != untrained


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("use_dora", True, "DoRA"),
        ("modules_to_save", ["model.visual.merger"], "whole layers"),
        ("r", 1024, "512 at most"),
    ],
)
def test_an_adapter_that_vllm_cannot_serve_is_refused_before_it_starts(
    adapters, tmp_path, key, value, said
):
    import json

    settings = json.loads((adapters[0] / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings | {key: value}))
    with pytest.raises(CheckpointError, match=said):
        pytorch.load_vllm("pico", adapter=tmp_path)


def test_an_adapter_of_another_model_is_refused(engine, adapters, tmp_path):
    from safetensors.torch import load_file, save_file

    (tmp_path / "adapter_config.json").write_text((adapters[0] / "adapter_config.json").read_text())
    weights = load_file(adapters[0] / "adapter_model.safetensors")
    renamed = {name.replace("q_proj", "query"): weight for name, weight in weights.items()}
    save_file(renamed, tmp_path / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="vLLM cannot take the adapter"):
        engine.adopt(tmp_path)
