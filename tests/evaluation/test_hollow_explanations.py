"""The bench against explanations that explain nothing: holes are found, and our rewards have none.

The rows are ViVQA-X's, whose golds hold an answer and what people said about it.
"""

import functools

import pytest

from vlmtune.config import RewardConfig
from vlmtune.evaluation.audit import Subject, audit, configured_reward
from vlmtune.evaluation.audit.attacks import battery
from vlmtune.evaluation.audit.hollow_explanations import DRESSED, FAMILY
from vlmtune.rewards import load_reward
from vlmtune.rewards.cider import tokens
from vlmtune.types import Example, Kind

ROWS = (
    ("có bao nhiêu con mèo?", "hai", "có hai con mèo đang ngủ trên ghế", Kind.COUNT),
    ("chiếc xe buýt màu gì?", "đỏ", "chiếc xe buýt ở bên trái có sơn màu đỏ", Kind.OPEN),
    ("có con chó nào không?", "không", "trong bức ảnh này chẳng thấy một con vật", Kind.YES_NO),
    ("cái gì ở trên bàn?", "bánh", "một cái bánh sinh nhật nằm giữa bàn gỗ", Kind.OPEN),
    ("người đàn ông làm gì?", "chạy", "anh ấy chạy rất nhanh dọc theo bãi biển", Kind.OPEN),
    ("trời thế nào?", "nắng", "bầu trời xanh và mặt trời chiếu sáng rực rỡ", Kind.OPEN),
)
EXAMPLES = [
    Example(
        id=f"rows/{number}",
        question=question,
        answer=f"<answer>{answer}</answer><explain>{told}</explain>",
        kind=kind,
    )
    for number, (question, answer, told, kind) in enumerate(ROWS)
]


def said(text: str) -> str:
    return text.partition("<explain>")[2].partition("</explain>")[0]


def graded(pay, share: float = 0.5):
    """A careless reward: our accuracy, and `pay` for the explanation of a right answer."""
    accuracy = load_reward("accuracy")

    def reward(prompts, completions, solution, **columns):
        right = accuracy(prompts=prompts, completions=completions, solution=solution, **columns)
        return [
            (1 - share) * one + share * one * pay(said(text), said(gold))
            for one, text, gold in zip(right, completions, solution, strict=True)
        ]

    return reward


def share_of_words(text: str, gold: str) -> float:
    wanted = set(tokens(gold).split())
    return len(wanted & set(tokens(text).split())) / len(wanted)


def long_ones(text: str, gold: str) -> float:
    return min(1.0, len(text) / 60)


def any_words(text: str, gold: str) -> float:
    return float(bool(text.strip()))


@functools.cache
def verdicts(name: str) -> dict[str, str]:
    """Status of each attack of these families."""
    careless = {"share_of_words": share_of_words, "long_ones": long_ones, "any_words": any_words}
    if name in careless:
        subject = Subject(name=name, reward=graded(careless[name]))
    else:
        subject = configured_reward(
            RewardConfig.model_validate(
                {"functions": name.split("+"), "explanation": {"alpha": 1.0}}
                if "explanation" in name
                else {"functions": name.split("+")}
            ),
            EXAMPLES,
        )
    found = audit(subject, EXAMPLES, timed_answers=0)
    assert found.form.explains
    return {
        outcome.attack.name: verdict.status
        for outcome, verdict in found.outcomes
        if outcome.attack.family in (FAMILY, DRESSED)
    }


def test_every_attack_on_explanations_has_a_name_of_its_own_and_is_tried() -> None:
    names = [one.name for one in battery() if one.family in (FAMILY, DRESSED)]
    assert len(names) == len(set(names)) == 31
    tried = set(verdicts("accuracy+format+explanation"))
    # Only the upper-case and decomposed forms of single answers may be missing.
    assert set(names) - tried == set()


@pytest.mark.parametrize("name", ["accuracy+format+explanation", "explanation"])
def test_our_explanation_reward_pays_none_of_them(name) -> None:
    found = verdicts(name)
    assert {attack for attack, status in found.items() if status == "fail"} == set()
    for attack in ("blank", "dots", "answer again", "answer, many times",
                   "another row's", "full marks", "only in thinking", "inside thinking",
                   "two explanations", "explanation, 100 kB", "its words, 100 kB",
                   "one letter, 100 kB"):  # fmt: skip
        assert found[attack] == "pass", attack
    # A question shares words with what is said about it; they are worth something, and not much.
    assert found["question again"] == found["words stuffed in"] == "warn"
    # The same words in other signs are the same explanation.
    assert {found[attack] for attack in ("upper case", "accents apart", "full width",
                                         "full stop", "line breaks")} == {"pass"}  # fmt: skip


def test_a_reward_that_counts_words_is_gamed_by_stuffing_them_in() -> None:
    found = verdicts("share_of_words")
    assert found["words stuffed in"] == "fail"
    assert found["blank"] == "pass"


def test_a_reward_that_likes_length_is_gamed_by_length() -> None:
    found = verdicts("long_ones")
    assert found["one letter, 100 kB"] == found["answer, many times"] == "fail"


def test_a_reward_that_takes_any_words_is_told() -> None:
    found = verdicts("any_words")
    assert found["dots"] == found["another row's"] == found["full marks"] == "fail"
    assert found["blank"] == "pass"


def test_rewards_that_do_not_read_explanations_are_not_blamed() -> None:
    found = verdicts("accuracy+format")
    assert "fail" not in found.values()


def test_rows_whose_form_has_no_explanation_are_not_asked() -> None:
    rows = [
        Example(id=str(n), question="How many?", answer=str(n), kind=Kind.COUNT) for n in range(4)
    ]
    subject = Subject(name="combined", reward=load_reward("combined"))
    found = audit(subject, rows, timed_answers=0)
    assert not {outcome.attack.family for outcome, _ in found.outcomes} & {FAMILY, DRESSED}
