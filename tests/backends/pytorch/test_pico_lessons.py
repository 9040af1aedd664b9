"""Packing several questions behind one picture changes nothing about any of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLProcessor

from vlmtune.backends.pytorch.pico.architecture import new_model, save_folder
from vlmtune.backends.pytorch.pico.lessons import IGNORED, Lessons, dense_targets, patches
from vlmtune.backends.pytorch.pico.tokenizer import train_tokenizer
from vlmtune.backends.pytorch.pico.training import Pupil, Recipe, schedule, segment_mask, train
from vlmtune.scenes.world import FLAT, Thing, World


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(rows=200)


@pytest.fixture(scope="module")
def folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pico")
    save_folder(new_model(seed=1), tokenizer, place)
    return place


def test_a_packed_segment_has_the_logits_it_has_alone(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    pupil, plain = Pupil(seed=3).eval(), new_model(seed=3).eval()
    plain.load_state_dict(pupil.model.state_dict())
    batch = Lessons(tokenizer, seed=0, batches=1, size=2, course="few")[0]
    with torch.no_grad():
        seen = pupil.see(batch)
        embedded = pupil.model.get_input_embeddings()(batch.ids)
        places = batch.ids == pupil.model.config.image_token_id
        embedded = embedded.masked_scatter(places[..., None], seen)
        packed = pupil.model.lm_head(
            pupil.model.model.language_model(
                inputs_embeds=embedded,
                position_ids=batch.positions,
                attention_mask=segment_mask(batch.segments, embedded.dtype),
                use_cache=False,
            ).last_hidden_state
        )
        per_picture = batch.pixels.shape[0] // 2
        for row in range(2):
            for number in range(1, int(batch.segments[row].max()) + 1):
                keep = (batch.segments[row] == 0) | (batch.segments[row] == number)
                ids = batch.ids[row][keep][None]
                alone = plain(
                    input_ids=ids,
                    mm_token_type_ids=(ids == pupil.model.config.image_token_id).int(),
                    pixel_values=batch.pixels[row * per_picture : (row + 1) * per_picture],
                    image_grid_thw=batch.grid[row][None],
                ).logits
                assert torch.allclose(packed[row][keep], alone[0], atol=2e-5)


def test_rows_in_groups_have_the_losses_that_they_have_alone(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    pupil = Pupil(seed=3).eval()
    batch = Lessons(tokenizer, seed=0, batches=1, size=5, course="few")[0]
    with torch.no_grad():
        loss, _, _ = pupil.answer_loss(batch, pupil.see(batch), answer_weight=4.0)
        embedded = pupil.model.get_input_embeddings()(batch.ids)
        places = batch.ids == pupil.model.config.image_token_id
        states = pupil.model.model.language_model(
            inputs_embeds=embedded.masked_scatter(places[..., None], pupil.see(batch)),
            position_ids=batch.positions,
            attention_mask=segment_mask(batch.segments, embedded.dtype),
            use_cache=False,
        ).last_hidden_state
        counted = batch.labels != IGNORED
        chosen = pupil.model.lm_head(states)[counted].log_softmax(-1)
        told = chosen.gather(1, batch.labels[counted][:, None])[:, 0]
        weights = torch.where(batch.decisive[counted], 4.0, 1.0)
    assert torch.allclose(loss, -(weights * told).sum() / weights.sum(), atol=1e-5)


def test_only_answers_carry_a_loss_and_each_ends_its_turn(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    batch = Lessons(tokenizer, seed=0, batches=1, size=4, course="few")[0]
    for row in range(4):
        for number in range(1, int(batch.segments[row].max()) + 1):
            here = batch.segments[row] == number
            labels = batch.labels[row][here]
            answer = tokenizer.decode(labels[labels != IGNORED])
            assert answer.endswith("<|im_end|>")
            # Shifted by one: a label is the token that follows its position.
            ids = batch.ids[row][here]
            assert torch.equal(labels[:-1][labels[:-1] != IGNORED], ids[1:][labels[:-1] != IGNORED])
        assert (batch.labels[row][batch.segments[row] <= 0] == IGNORED).all()


def test_patches_equal_the_image_processor_s(folder: Path) -> None:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, size=(2, 168, 224, 3), dtype=np.uint8)
    # By its class: once mlx-vlm is imported, AutoProcessor gives its processor of MLX arrays.
    processor = Qwen2_5_VLProcessor.from_pretrained(folder)
    expected = processor.image_processor(
        images=[Image.fromarray(picture) for picture in pictures], return_tensors="pt"
    )["pixel_values"]
    assert torch.allclose(torch.from_numpy(patches(pictures)), expected, atol=1e-6)


def test_dense_targets_name_what_stands_in_a_cell() -> None:
    red_cube = Thing(shape="cube", colour="red", size="large", x=42, y=70, foot=70, radius=14)
    world = World(mode=FLAT, width=196, height=196, things=(red_cube,), clutter=0.0, background=0)
    looks, centres, offsets, places = dense_targets(world, (7, 7))
    # x 42 is the middle of column 1, y 70 the middle of row 2: cell 2 * 7 + 1 of 7 columns.
    assert centres.nonzero()[0].tolist() == [15]
    assert looks[15].sum() == 1 and looks[15, 0] == 1
    assert offsets[15].tolist() == [0.5, 0.5, 0.5]
    # 42 of 196 is 21 % of the width and 70 of 196 is 35 % of the height: cell (2, 3) of ten.
    assert places[15].tolist() == [2, 3] and (np.delete(places, 15, axis=0) == IGNORED).all()


def test_the_same_index_gives_the_same_batch(tokenizer: PreTrainedTokenizerFast) -> None:
    one = Lessons(tokenizer, seed=5, batches=9, size=2, course="few")[7]
    two = Lessons(tokenizer, seed=5, batches=9, size=2, course="few")[7]
    assert torch.equal(one.ids, two.ids) and torch.equal(one.pixels, two.pixels)


def test_the_rate_warms_up_and_ends_at_a_twentieth() -> None:
    assert schedule(0, total=1000, warmup=100) == 0.01
    assert schedule(99, total=1000, warmup=100) == 1.0
    assert abs(schedule(1000, total=1000, warmup=100) - 0.05) < 1e-12


def test_decisive_labels_are_the_answer_and_nothing_else(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    batch = Lessons(tokenizer, seed=0, batches=1, size=6, course="few")[0]
    seen = set()
    for row in range(6):
        for number in range(1, int(batch.segments[row].max()) + 1):
            here = batch.segments[row] == number
            labels = batch.labels[row][here]
            whole = tokenizer.decode(labels[labels != IGNORED])
            # A token may hold an answer's first letter and the bracket before it.
            decided = tokenizer.decode(labels[batch.decisive[row][here]]).strip("<>/")
            if "<answer>" in whole:
                assert whole.endswith(f"<answer>{decided}</answer><|im_end|>")
            else:
                # A caption's words are all alike; a direct answer decides as a whole.
                assert (decided == "") == (" objects: " in whole or " object: " in whole)
                assert whole in (f"{decided}<|im_end|>", whole if decided == "" else None)
            seen.add(decided)
    assert {"yes", "no"} <= seen


def test_a_finished_course_holds_whatever_the_next_one_will_be(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    short = Recipe(size=2, vision_batches=2, few_batches=1, many_batches=1, warmup=1)
    quiet = Console(quiet=True)
    first = train(short, tokenizer, tmp_path, quiet)
    before = (tmp_path / "few.pt").stat().st_mtime_ns
    (tmp_path / "many.pt").unlink()
    again = train(replace(short, many_batches=2), tokenizer, tmp_path, quiet)
    assert (tmp_path / "few.pt").stat().st_mtime_ns == before
    assert not torch.equal(first.model.lm_head.weight, again.model.lm_head.weight)
    with pytest.raises(ValueError, match=r"vision\.pt was made by another recipe"):
        train(replace(short, vision_batches=3), tokenizer, tmp_path, quiet)
