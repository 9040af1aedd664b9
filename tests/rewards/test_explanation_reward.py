"""The explanation reward: its two halves, what it refuses to pay, and where it does not apply."""

import math
import random
import unicodedata

import PIL.Image
import pytest

from vlmtune.config import RewardConfig
from vlmtune.errors import ConfigError, DataError, RewardError
from vlmtune.rewards import ExplanationReward, build_reward, initialize_explanation_scorer
from vlmtune.types import Example, Kind

WHY = ("two cats sleep on the chair", "dogs run across a green field", "the bus there is red")
GOLD = "<answer>{}</answer><explain>{}</explain>"
SCORER = """
calls = []

class Fixed:
    def similarities(self, images, texts):
        calls.append((list(images), list(texts)))
        return [0.05 if "nothing" in text else 0.25 for text in texts]

def load_scorer(model):
    calls.append(model)
    return Fixed()
"""


class Drawn:
    """A picture that counts how often it is opened."""

    name = "drawn/1"

    def __init__(self) -> None:
        self.opened = 0

    def open(self) -> PIL.Image.Image:
        self.opened += 1
        return PIL.Image.new("RGB", (8, 8))


@pytest.fixture
def scorer_file(tmp_path) -> str:
    file = tmp_path / "fixed_scorer.py"
    file.write_text(SCORER)
    return str(file)


def examples(*pictures) -> list[Example]:
    answers = ("two", "green", "red")
    return [
        Example(
            id=f"rows/{index}",
            images=pictures,
            question="What is there?",
            answer=GOLD.format(answer, why),
            kind=Kind.OPEN,
        )
        for index, (answer, why) in enumerate(zip(answers, WHY, strict=True))
    ]


def said(answer: str, why: str) -> str:
    return f"<think>I look.</think><answer>{answer}</answer><explain>{why}</explain>"


def words_alone(**settings) -> ExplanationReward:
    return ExplanationReward(alpha=1.0, **settings).prepared(examples())


def earn(why: str, *, answer: str = "two", row: int = 0, **settings) -> float:
    return words_alone(**settings).score(examples()[row], said(answer, why)).value


def test_the_reference_itself_earns_full_marks_and_another_nothing() -> None:
    assert earn(WHY[0]) == pytest.approx(1.0)
    assert earn(WHY[1]) == 0.0
    assert 0.1 < earn("two cats sleep") < 0.9


def test_the_halves_are_weighed_by_alpha(scorer_file) -> None:
    # 100 * 0.25 is halfway from 15 to 35.
    rows = examples(Drawn())
    for alpha, expected in ((0.5, 0.75), (0.2, 0.6), (0.0, 0.5), (1.0, 1.0)):
        reward = ExplanationReward(alpha=alpha, scorer=scorer_file).prepared(rows)
        score = reward.score(rows[0], said("two", WHY[0]))
        assert score.value == pytest.approx(expected)
        if alpha == 0.5:
            assert score.parts == pytest.approx({"cider": 1, "clip": 0.5, "explanation": 0.75})
    low = ExplanationReward(alpha=0.0, scorer=scorer_file).prepared(rows)
    assert low.score(rows[0], said("two", "nothing alike")).value == 0.0


def test_a_scorer_is_loaded_once_and_a_picture_opened_once_a_batch(scorer_file) -> None:
    picture = Drawn()
    rows = examples(picture)
    reward = ExplanationReward(alpha=0.5, scorer=scorer_file, clip_model="m").prepared(rows)
    reward.score_batch([rows[0]] * 4, [said("two", f"cat {number}") for number in range(4)])
    scorer = initialize_explanation_scorer(scorer_file, "m")
    assert scorer is initialize_explanation_scorer(scorer_file, "m")
    calls = type(scorer).similarities.__globals__["calls"]
    assert calls[0] == "m"
    assert [len(texts) for _, texts in calls[1:]] == [4]
    assert picture.opened == 1


def test_a_wrong_answer_earns_nothing_for_its_explanation() -> None:
    assert earn(WHY[0], answer="three") == 0.0
    assert earn(WHY[0], answer="three", needs_accuracy=False) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "text",
    ["", WHY[0], f"<explain>{WHY[0]}", f"<think><explain>{WHY[0]}</explain></think>",
     f"<explain>{WHY[0]}</explain><explain>{WHY[1]}</explain>", "<explain> </explain>",
     f"<explain>{'two cats ' * 12_000}</explain>", f"<think>{WHY[0]}</think><answer>two</answer>"],
)  # fmt: skip
def test_an_explanation_stands_in_one_pair_outside_the_thinking(text) -> None:
    answered = text if "<answer>" in text else f"<think>a</think><answer>two</answer>{text}"
    reward = words_alone()
    assert reward.score(examples()[0], answered).value == 0.0


def test_words_are_compared_whatever_their_case_marks_and_normal_form() -> None:
    rows = [
        Example(id="a", question="?", answer=GOLD.format("hai", "Có hai con mèo trên ghế.")),
        Example(id="b", question="?", answer=GOLD.format("xanh", "Một cái xe màu xanh")),
    ]
    reward = ExplanationReward(alpha=1.0).prepared(rows)
    told = unicodedata.normalize("NFD", "có HAI con mèo trên ghế")
    assert reward.score(rows[0], said("hai", told)).value == pytest.approx(1.0)


def test_a_batch_earns_what_its_rows_earn_alone_in_any_order() -> None:
    rows, reward = examples(), words_alone()
    texts = [said("two", WHY[0]), said("green", "dogs run"), said("red", "a bus")]
    alone = [reward.score(row, text).value for row, text in zip(rows, texts, strict=True)]
    assert all(0 <= value <= 1 and math.isfinite(value) for value in alone)
    order = [0, 1, 2, 0, 1, 2]
    random.Random(5).shuffle(order)
    batch = reward.score_batch([rows[i] for i in order], [texts[i] for i in order])
    assert [score.value for score in batch] == [alone[i] for i in order]
    columns = reward(
        prompts=["What is there?"] * 6,
        completions=[[{"role": "assistant", "content": texts[i]}] for i in order],
        solution=[rows[i].answer for i in order],
    )
    assert columns == [alone[i] for i in order]


def test_references_of_a_column_come_before_the_golds_own() -> None:
    reward = words_alone()
    paid = reward(
        prompts=["?"], completions=[said("two", "a sofa with cats on it")], solution=["two"],
        explanations=[["a sofa with cats on it"]],
    )  # fmt: skip
    assert paid == [pytest.approx(1.0)]


def test_rows_without_references_or_pictures_are_not_applicable(scorer_file) -> None:
    bare = Example(id="a", question="?", answer="two")
    assert words_alone().score_batch([bare], [said("two", "x")]) == [None]
    pictured = ExplanationReward(alpha=0.0, scorer=scorer_file)
    assert pictured(prompts=["?"], completions=["x"], solution=["two"]) == [None]
    assert pictured.score(bare, "x").why.startswith("not applicable")


def test_pictures_come_from_columns_too(scorer_file, tmp_path) -> None:
    path = tmp_path / "one.png"
    PIL.Image.new("L", (4, 4)).save(path)
    reward = ExplanationReward(alpha=0.0, scorer=scorer_file)
    for column in (
        {"image_path": [str(path)]},
        {"images": [[PIL.Image.new("RGB", (4, 4))]]},
        {"image": [PIL.Image.new("L", (4, 4))]},
    ):
        paid = reward(prompts=["?"], completions=[said("two", "x")], solution=["two"], **column)
        assert paid == [0.5]
    with pytest.raises(DataError, match=r"picture .*two.png cannot be opened"):
        reward(
            prompts=["?"], completions=[said("two", "x")], solution=["two"],
            image_path=[str(tmp_path / "two.png")],
        )  # fmt: skip


def test_without_a_dataset_it_says_what_it_lacks() -> None:
    reward = ExplanationReward(alpha=1.0)
    with pytest.raises(RewardError, match="knows no dataset to weigh words by"):
        reward(prompts=["?"], completions=[said("two", WHY[0])], solution=[examples()[0].answer])
    with pytest.raises(DataError, match="1 of the rows have reference explanations"):
        reward.prepared(examples()[:1])


def test_a_scorer_that_gives_no_cosines_is_named(tmp_path) -> None:
    file = tmp_path / "wrong_scorer.py"
    file.write_text(
        "class Wrong:\n    def similarities(self, images, texts):\n        return [float('nan')]\n"
        "def load_scorer(model):\n    return Wrong()\n"
    )
    reward = ExplanationReward(alpha=0.0, scorer=str(file))
    with pytest.raises(RewardError, match=r"gave 1 values for 1 texts, .nan.; a cosine"):
        reward.score(examples(Drawn())[0], said("two", "x"))


def test_settings_come_from_the_config() -> None:
    own = {"alpha": 1.0, "needs_accuracy": False}
    config = RewardConfig.model_validate({"type": "explanation", "explanation": own})
    reward = build_reward(config, examples=examples())
    assert reward.name == "explanation"
    assert reward.score(examples()[0], said("three", WHY[0])).value == pytest.approx(1.0)
    with pytest.raises(ConfigError, match=r"alpha is 1\.5"):
        ExplanationReward(alpha=1.5)


@pytest.mark.parametrize(
    "text",
    [
        "<think>a</think><answer>two <explain>{}</explain></answer>",
        "<answer>two<explain>{}</explain>",
        "<think>a<answer>two</answer><explain>{}</explain></think>",
    ],
)
def test_an_explanation_inside_another_pair_is_none(text) -> None:
    reward = words_alone(needs_accuracy=False)
    assert reward.score(examples()[0], text.format(WHY[0])).value == 0.0
