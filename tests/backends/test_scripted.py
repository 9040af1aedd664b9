import math

import pytest

from vlmtune.backends import scripted
from vlmtune.backends.scripted.script import candidates, pieces
from vlmtune.types import Finish, Kind, Sampling


@pytest.fixture(scope="module")
def groups(ask):
    generator = scripted.load_generator("any")
    prompts = [ask(name=f"row/{place}") for place in range(20)]
    return generator.generate(prompts, Sampling(samples=16, max_tokens=200, seed=0))


def test_its_answers_are_a_mixture_of_good_bare_chatty_empty_and_cut(groups):
    said = [completion for group in groups for completion in group]
    formed = [one for one in said if one.text.endswith("</answer>")]
    assert 0.6 < len(formed) / len(said) < 0.8
    assert any(one.text in "0123456" and one.text for one in said)
    assert any(one.text.startswith("I would say") for one in said)
    assert any(one.text == "" and one.finish is Finish.STOP for one in said)
    assert any(one.finish is Finish.LENGTH and len(one.token_ids) == 200 for one in said)


@pytest.mark.parametrize(
    ("kind", "question", "value"),
    [
        (Kind.YES_NO, "Is it?", "yes"),
        (Kind.COUNT, "How many?", "4"),
        (Kind.RELATION, "Where is it?", "left of"),
        (Kind.OPEN, "What is it?", "a red cube"),
    ],
)
def test_it_answers_in_the_form_that_the_kind_asks_for(ask, kind, question, value):
    said = [one.text for one in candidates(ask(question, kind=kind))]
    assert any(f"<answer>{value}</answer>" in text for text in said)


def test_it_answers_a_choice_with_one_of_its_letters(ask):
    said = [one.text for one in candidates(ask("Which?\n(A) left\n(B) right", kind=Kind.CHOICE))]
    assert any("<answer>(B)</answer>" in text for text in said)
    assert not any("(C)" in text for text in said)


def test_the_weights_of_a_script_add_up_to_one(ask):
    assert math.fsum(one.weight for one in candidates(ask())) == pytest.approx(1.0)


def test_pieces_of_a_text_joined_are_the_text():
    text = "  two  words\nand a blank "
    assert "".join(pieces(text)) == text


def test_an_answer_costs_what_its_weight_says(ask):
    # Off the script's 1e-4 per word, the product of the words is the candidate's weight.
    prompt = ask()
    generator = scripted.load_generator("any")
    for one in candidates(prompt)[:3]:
        score = generator.score([prompt], [one.text])[0]
        assert math.exp(sum(score)) == pytest.approx(one.weight, rel=2e-3)


def test_words_off_the_script_are_nearly_impossible(ask):
    score = scripted.load_generator("any").score([ask()], ["purple elephants"])[0]
    assert score == pytest.approx([math.log(1e-4 / 50_000)] * 3)


def test_heat_flattens_and_cold_sharpens(ask):
    generator = scripted.load_generator("any")
    prompts = [ask(name=f"row/{place}") for place in range(40)]
    different = {}
    for temperature in (0.2, 3.0):
        sampling = Sampling(samples=8, max_tokens=100, temperature=temperature)
        groups = generator.generate(prompts, sampling)
        different[temperature] = sum(len({one.text for one in group}) for group in groups)
    assert different[0.2] < different[3.0]
