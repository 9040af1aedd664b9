"""More than seventeen hundred answers, right and wrong, in English and Vietnamese.

Each was judged from the rules by hand before it was run. They stand in cases/*.yaml: a question,
its gold, the answers that are right and the answers that are wrong.
"""

from pathlib import Path

import pytest
import yaml

from vlmtune.rewards import grade

FOLDER = Path(__file__).parent / "cases"
KINDS = ("relation", "count", "yes_no", "choice")


def load():
    for kind in KINDS:
        for group in yaml.safe_load((FOLDER / f"{kind}.yaml").read_text(encoding="utf-8")):
            for name, expected in (("right", 1.0), ("wrong", 0.0)):
                for answer in group.get(name, []):
                    yield kind, group, answer, expected


CASES = list(load())


@pytest.mark.parametrize(
    ("kind", "group", "answer", "expected"),
    CASES,
    ids=[f"{kind}-{group['gold']}-{answer[:30]!r}" for kind, group, answer, _ in CASES],
)
def test_an_answer_earns_what_a_reader_would_give_it(kind, group, answer, expected) -> None:
    for completion in (f"<think>I look.</think><answer>{answer}</answer>", answer):
        score = grade(
            kind=kind,
            question=group["question"],
            answer=group["gold"],
            completion=completion,
            choices=group.get("choices", ()),
        )
        assert score.parts["accuracy"] == expected, f"{completion!r}: {score.why}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_right_and_wrong_answers_in_both_languages(kind) -> None:
    answers = [(answer, expected) for k, _, answer, expected in CASES if k == kind]
    for wanted in (0.0, 1.0):
        chosen = [answer for answer, expected in answers if expected == wanted]
        assert any(answer.isascii() for answer in chosen)
        assert any("ô" in answer or "á" in answer or "ó" in answer for answer in chosen)
