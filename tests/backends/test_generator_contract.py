"""What every backend's Generator promises; scripted, MLX and PyTorch pass the same tests."""

import math

import pytest

from vlmtune.protocols import Generator
from vlmtune.types import Finish, Prompt, Sampling

HOT = Sampling(samples=3, max_tokens=12, temperature=1.0, seed=5)


def texts(answers):
    return [[completion.token_ids for completion in group] for group in answers]


def test_there_are_samples_completions_for_every_prompt(generator: Generator, prompts):
    answers = generator.generate(prompts, HOT)
    assert [len(group) for group in answers] == [3, 3, 3, 3]


def test_no_prompts_give_no_completions(generator: Generator):
    assert generator.generate([], HOT) == []


def test_equal_seeds_give_equal_completions(generator: Generator, prompts):
    again = generator.generate(prompts, HOT)
    assert texts(generator.generate(prompts, HOT)) == texts(again)


def test_another_seed_gives_other_completions(generator: Generator, prompts):
    other = Sampling(samples=3, max_tokens=12, temperature=1.0, seed=6)
    assert texts(generator.generate(prompts, HOT)) != texts(generator.generate(prompts, other))


def test_samples_of_one_prompt_differ(generator: Generator, prompts):
    sampling = Sampling(samples=8, max_tokens=12, seed=0)
    group = texts(generator.generate(prompts[:1], sampling))[0]
    assert len(set(group)) > 1


def test_the_order_of_prompts_is_kept_and_changes_no_completion(generator: Generator, prompts):
    backwards = generator.generate(prompts[::-1], HOT)
    assert texts(backwards[::-1]) == texts(generator.generate(prompts, HOT))


def test_more_samples_begin_with_the_fewer(generator: Generator, prompts):
    more = Sampling(samples=5, max_tokens=12, temperature=1.0, seed=5)
    longer = texts(generator.generate(prompts, more))
    assert [group[:3] for group in longer] == texts(generator.generate(prompts, HOT))


def test_greedy_samples_are_all_alike(generator: Generator, prompts):
    answers = generator.generate(prompts, Sampling(samples=3, max_tokens=6, temperature=0))
    assert all(len(set(group)) == 1 for group in texts(answers))
    assert [len(group) for group in answers] == [3, 3, 3, 3]


def test_progress_adds_up_to_all_completions(generator: Generator, prompts):
    seen: list[int] = []
    generator.generate(prompts, HOT, progress=seen.append)
    assert sum(seen) == 12
    assert min(seen) > 0


def test_progress_counts_greedy_copies(generator: Generator, prompts):
    seen: list[int] = []
    sampling = Sampling(samples=4, max_tokens=4, temperature=0)
    generator.generate(prompts, sampling, progress=seen.append)
    assert sum(seen) == 16


@pytest.mark.parametrize("longest", [1, 2, 7])
def test_a_completion_is_cut_at_max_tokens_or_ends_itself(generator: Generator, prompts, longest):
    sampling = Sampling(samples=6, max_tokens=longest, seed=1)
    for group in generator.generate(prompts, sampling):
        for completion in group:
            assert 1 <= len(completion.token_ids) <= longest
            if completion.finish is Finish.LENGTH:
                assert len(completion.token_ids) == longest


def test_a_shorter_limit_cuts_the_same_completion(generator: Generator, prompts):
    short = Sampling(samples=3, max_tokens=5, temperature=1.0, seed=5)
    pairs = zip(
        texts(generator.generate(prompts, short)),
        texts(generator.generate(prompts, HOT)),
        strict=True,
    )
    for cut, whole in pairs:
        assert cut == [ids[:5] for ids in whole]


def test_every_token_has_a_finite_log_probability(generator: Generator, prompts):
    for group in generator.generate(prompts, HOT):
        for completion in group:
            assert completion.logprobs is not None
            assert len(completion.logprobs) == len(completion.token_ids)
            assert all(math.isfinite(value) and value <= 1e-6 for value in completion.logprobs)


def test_a_likely_draw_is_scored_as_it_was_drawn(generator: Generator, prompts):
    sampling = Sampling(samples=4, max_tokens=12, temperature=1.0, seed=2)
    for prompt, group in zip(prompts, generator.generate(prompts, sampling), strict=True):
        for completion in group:
            target = generator.encode(prompt, completion.text).target_ids
            if target != completion.token_ids:  # another spelling of the text, or a cut one
                continue
            scored = generator.score([prompt], [completion.text])[0]
            assert scored == pytest.approx(completion.logprobs, abs=1e-4)


def test_encoding_counts_image_tokens_and_ends_the_target(generator: Generator, prompts):
    encoded = [generator.encode(prompt, "3") for prompt in prompts]
    assert encoded[0].image_tokens == 0
    assert all(one.image_tokens > 0 for one in encoded[1:])
    assert len({one.target_ids[-1] for one in encoded}) == 1
    assert all(len(one.prompt_ids) > one.image_tokens for one in encoded)


def test_scores_have_one_value_for_each_target_token(generator: Generator, prompts):
    targets = ["3", "yes", "", "a much longer answer about cubes"]
    scores = generator.score(prompts, targets)
    lengths = [
        len(generator.encode(prompt, target).target_ids)
        for prompt, target in zip(prompts, targets, strict=True)
    ]
    assert [len(score) for score in scores] == lengths
    assert all(math.isfinite(value) and value <= 0 for score in scores for value in score)


def test_scores_of_a_repeated_prompt_are_those_of_each_alone(generator: Generator, prompts):
    pair = [prompts[1], prompts[0], prompts[1]]
    targets = ["yes", "3", "the sphere is not left of it"]
    together = generator.score(pair, targets)
    for prompt, target, score in zip(pair, targets, together, strict=True):
        assert generator.score([prompt], [target])[0] == pytest.approx(score, abs=1e-4)


def test_a_prompt_is_not_changed_by_being_asked(generator: Generator, prompts: list[Prompt]):
    before = repr(prompts)
    generator.generate(prompts, HOT)
    generator.encode(prompts[1], "yes")
    assert repr(prompts) == before
