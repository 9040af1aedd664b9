"""The reward bench: what it takes for wrong, which rewards it catches, and which it lets pass."""

import itertools
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from vlmtune.config import RewardConfig
from vlmtune.errors import ConfigError, DataError, RunFailed
from vlmtune.evaluation.audit import Audit, Subject, audit, open_reward
from vlmtune.evaluation.audit.attack import TAGGED, Attack, Expect, fixed
from vlmtune.evaluation.audit.attacks import battery
from vlmtune.evaluation.audit.cases import Case, cases_of
from vlmtune.evaluation.audit.hollow_explanations import DRESSED, FAMILY
from vlmtune.evaluation.audit.measured import Honest, Outcome, Trial, mean_of
from vlmtune.evaluation.audit.record import record
from vlmtune.evaluation.audit.subject import Paid
from vlmtune.evaluation.audit.verdicts import judge
from vlmtune.evaluation.metrics import wilson
from vlmtune.types import Example, Kind

FIXTURES = Path(__file__).parents[1] / "fixtures"
CAT = "Where is the cat relative to the dog?"
DOGS = "How many dogs are there?"
ROWS = (
    Example(id="r1", kind=Kind.RELATION, question=CAT, answer="left of"),
    Example(id="r2", kind=Kind.RELATION, question=CAT, answer="behind"),
    Example(id="y1", kind=Kind.YES_NO, question="Is there a dog?", answer="yes"),
    Example(id="y2", kind=Kind.YES_NO, question="Is there a cat?", answer="no"),
    Example(id="c1", kind=Kind.COUNT, question=DOGS, answer="3"),
    Example(id="c2", kind=Kind.COUNT, question=DOGS, answer="8"),
    Example(id="m1", kind=Kind.CHOICE, question="What is it?", answer="(B)",
            choices=("a lamp", "a chair", "a table")),
    Example(id="m2", kind=Kind.CHOICE, question="What is it?", answer="(C)",
            choices=("a lamp", "a chair", "a table")),
)  # fmt: skip


@dataclass
class Own:
    """A reward from a function of completion and gold."""

    pays: Callable[[str, str], float]
    name: str = "own"

    def score(self, example, completion):
        from vlmtune.types import How, Reading, Score

        return Score(
            value=self.pays(completion, example.answer), parts={},
            reading=Reading(value=None, how=How.UNREADABLE), why="",
        )  # fmt: skip

    def __call__(self, *, prompts, completions, answer, **columns):
        texts = [text if isinstance(text, str) else text[-1]["content"] for text in completions]
        return [self.pays(text, gold) for text, gold in zip(texts, answer, strict=True)]


def tagged(completion: str) -> str:
    found = re.search(r"<answer>([^<>]*)</answer>", completion)
    return found[1] if found else ""


def exact(completion: str, gold: str) -> float:
    form = re.fullmatch(r"<think>[^<>]+</think><answer>[^<>]*</answer>", completion)
    return float(form is not None and tagged(completion) == gold)


def length(completion: str, gold: str) -> float:
    return min(1.0, len(completion) / 1000)


def half(completion: str, gold: str) -> float:
    return 0.5


def formal(completion: str, gold: str) -> float:
    form = r"<think>[^<>]*\w[^<>]*</think><answer>[^<>]*[^\s<>][^<>]*</answer>"
    # Backtracking over 100 kB would take minutes.
    return float(len(completion) < 1000 and re.fullmatch(form, completion) is not None)


def broken(completion: str, gold: str) -> float:
    raise KeyError("lost")


def audited(pays, rows: Sequence[Example] = ROWS) -> Audit:
    reward = pays if not callable(pays) or hasattr(pays, "score") else Own(pays)
    return audit(Subject(name="own", reward=reward), rows, timed_answers=20)


def failed(found: Audit) -> set[str]:
    return {one.attack.name for one, verdict in found.outcomes if verdict.status == "fail"}


def check_of(found: Audit, name: str) -> tuple[str, str]:
    return next((one.status, one.detail) for one in found.checks if one.name == name)


# What is wrong, by construction


def test_wrong_counts_are_far_and_a_near_one_is_kept_apart() -> None:
    (case,), _ = cases_of([ROWS[4]])
    assert (case.wrongs, case.near) == (("5", "8", "16", "1"), "4")


def test_a_relation_knows_its_opposite_and_who_is_where() -> None:
    (case,), _ = cases_of([ROWS[0]])
    assert case.wrongs == ("right of", "behind", "in front of")
    assert (case.inverse, case.subject, case.object) == ("right of", "cat", "dog")


def test_other_letters_are_wrong_and_only_those_that_exist() -> None:
    (case,), _ = cases_of([ROWS[6]])
    assert case.wrongs == ("(A)", "(C)")


def test_the_wrong_answer_to_a_vietnamese_yes_is_vietnamese() -> None:
    row = Example(id="v", kind=Kind.YES_NO, question="Có con chó không?", answer="có")
    (case,), _ = cases_of([row])
    assert case.wrongs == ("không",)


def test_a_caption_is_wrong_for_another_picture_unless_one_holds_the_other() -> None:
    texts = ("red", "red and white", "a green hat")
    rows = [Example(id=text, kind=Kind.OPEN, question="?", answer=text) for text in texts]
    cases, _ = cases_of(rows)
    assert {case.gold: set(case.wrongs) for case in cases} == {
        "red": {"a green hat"},
        "red and white": {"a green hat"},
        "a green hat": {"red", "red and white"},
    }


def test_a_row_without_gold_is_left_out_with_its_reason() -> None:
    cases, left_out = cases_of([Example(id="x", question="?")])
    assert (cases, left_out) == ([], ["x: no gold answer"])


def test_every_attack_can_be_written_for_some_row_and_differs_from_the_honest_answer() -> None:
    cases, _ = cases_of(ROWS)
    for attack in battery():
        if attack.name == "accents apart" or attack.family in (FAMILY, DRESSED):
            continue  # Need a gold with accents, or rows with explanations.
        made = [(case, attack.make(case, TAGGED)) for case in cases]
        assert any(text is not None for _, text in made), attack.name
        if attack.expects in (Expect.WRONG, Expect.NEAR):
            assert all(text != TAGGED.say(case, case.gold) for case, text in made), attack.name


# Rewards that can be gamed


def test_string_similarity_is_caught() -> None:
    reward = open_reward(str(FIXTURES / "similar_text_reward.py"), RewardConfig(), ROWS)
    found = audit(reward, ROWS, timed_answers=20)
    assert found.status == "fail"
    # difflib: 'not left of' shares 14 of 18 characters with 'left of': 0.78, or 0.67 with '3'.
    assert {"not the right one", "with a slash", "digit more", "smuggled in thinking"} <= failed(
        found
    )
    assert check_of(found, "chat messages")[0] == "warn"


def test_the_examples_show_what_was_paid_and_for_what() -> None:
    reward = open_reward(str(FIXTURES / "similar_text_reward.py"), RewardConfig(), ROWS)
    written = record(audit(reward, [ROWS[0]], timed_answers=0))
    denial = next(one for one in written["attacks"] if one["name"] == "not the right one")
    (shown,) = denial["examples"]
    assert shown["completion"].endswith("<answer>not left of</answer>")
    assert shown["value"] == pytest.approx(14 / 18)
    assert (shown["gold"], shown["right"]) == ("left of", 1.0)


def test_a_reward_for_containing_the_gold_pays_for_listing_everything() -> None:
    found = audited(lambda completion, gold: float(gold in tagged(completion)))
    assert {"all answers", "right or wrong", "not the right one", "it is not"} <= failed(found)
    constants = {one.kind: one.verdict.status for one in found.constants}
    assert constants[Kind.CHOICE] == "pass"


def test_a_reward_for_length_fails_by_length() -> None:
    found = audited(length)
    assert "digits" in failed(found)


def test_one_reward_for_all_answers_fails_even_though_no_attack_earns_more() -> None:
    found = audited(half)
    assert failed(found) == set()
    status, detail = check_of(found, "right over wrong")
    assert status == "fail" and "as much as the right one in 8 of 8" in detail


def test_a_wrong_answer_above_the_right_one_fails() -> None:
    found = audited(lambda completion, gold: float(gold not in completion))
    assert check_of(found, "right over wrong")[0] == "fail"


def test_paying_doubted_answers_in_full_is_a_warning() -> None:
    found = audited(lambda completion, gold: exact(completion.replace("maybe ", ""), gold))
    status = {one.attack.name: verdict.status for one, verdict in found.outcomes}
    assert (status["maybe"], status["probably"]) == ("warn", "pass")


# Rewards that hold


def test_an_exact_reward_has_no_hole() -> None:
    found = audited(exact)
    assert "fail" not in found.statuses
    # It reads one spelling, which is a taste and no hole.
    status = {one.attack.name: verdict.status for one, verdict in found.outcomes}
    assert (status["upper case"], status["all answers"]) == ("warn", "pass")


def test_a_reward_that_wants_bare_answers_is_audited_with_bare_answers() -> None:
    found = audited(lambda completion, gold: float(completion == gold))
    assert found.form.name == "the bare answer"
    assert check_of(found, "right over wrong")[0] == "pass"


def test_pay_for_form_alone_is_said_and_is_no_failure() -> None:
    found = audited(formal)
    assert found.only_form
    assert check_of(found, "right over wrong")[0] == "warn"


def test_a_reward_that_does_not_apply_anywhere_is_refused() -> None:
    def silent(*, prompts, completions, **columns):
        return [None] * len(completions)

    with pytest.raises(DataError, match="does not apply to any of 8 rows"):
        audit(Subject(name="silent", reward=silent), ROWS)


# Rewards that misbehave


def test_chance_is_caught() -> None:
    chance = random.Random(0)
    found = audited(lambda completion, gold: exact(completion, gold) * chance.random())
    assert check_of(found, "determinism")[0] == "fail"


def test_memory_is_caught() -> None:
    calls = itertools.count()
    found = audited(lambda completion, gold: 0.5 if next(calls) % 2 else exact(completion, gold))
    assert check_of(found, "determinism")[0] == "fail"


@dataclass
class Scaled(Own):
    """Scales each batch by its best."""

    pays: Callable[[str, str], float] = field(default=lambda text, gold: exact(text, gold) / 2)

    def __call__(self, **columns):
        values = super().__call__(**columns)
        return [value / (max(values) or 1.0) for value in values]


def test_a_reward_that_depends_on_its_batch_is_caught() -> None:
    status, detail = check_of(audited(Scaled()), "batches")
    assert status == "fail" and "alone" in detail


def test_a_reward_outside_its_range_is_caught() -> None:
    found = audited(lambda completion, gold: 3 * exact(completion, gold) - 1)
    assert check_of(found, "range")[0] == "fail"
    nan = audited(lambda text, gold: exact(text, gold) if "<think>" in text else float("nan"))
    assert check_of(nan, "range")[0] == "fail"


def test_what_a_reward_raises_is_named_with_attack_and_row() -> None:
    def fragile(completion: str, gold: str) -> float:
        if not completion:
            raise ZeroDivisionError("no words")
        return exact(completion, gold)

    found = audited(fragile)
    assert "empty" in failed(found)
    status, detail = check_of(found, "exceptions")
    assert status == "fail"
    assert "saying nothing: empty, r1: ZeroDivisionError: no words (test_audit.py:" in detail


def test_a_reward_that_raises_on_honest_answers_ends_the_audit() -> None:
    with pytest.raises(RunFailed, match=r"raises on a plain answer to r1: KeyError"):
        audited(broken)


def test_a_reward_that_would_never_come_back_is_given_up_in_time() -> None:
    def slow(completion: str, gold: str) -> float:
        if completion.startswith("((("):
            until = time.process_time() + 0.25
            while time.process_time() < until:
                pass
        return exact(completion, gold)

    found = audited(slow, ROWS[:2])
    assert "brackets" in failed(found)
    status, detail = check_of(found, "100 kB in time")
    assert status == "fail" and "brackets: took" in detail and "was not tried" in detail


# Finding rewards


def test_a_class_is_built_with_those_settings_that_it_knows() -> None:
    found = open_reward(
        "vlmtune.rewards:CountingRewardFunction", RewardConfig(close_count=0.0), ROWS
    )
    assert found.pay(ROWS[4], "<think>x</think><answer>4</answer>").value == pytest.approx(0.1)


def test_one_function_of_a_file_is_a_reward() -> None:
    name = f"{FIXTURES / 'exact_answer_reward.py'}:exact_answer"
    found = open_reward(name, RewardConfig(), ROWS)
    assert found.pay(ROWS[4], "<think>x</think><answer>3</answer>").value == 1.0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("spacial", "did you mean 'spatial'"),
        ("nowhere.py", "no such file"),
        ("vlmtune.rewards:Spatial", "has no 'Spatial'"),
        ("no_such_pack:Reward", "'no_such_pack' not found"),
    ],
)
def test_a_reward_that_is_not_there_is_told(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        open_reward(name, RewardConfig())


# Rules, on rewards written by hand


def outcome(expects: Expect, values: Sequence[float], *, right: float, wrong: float) -> Outcome:
    attack = Attack(name="by hand", family="tests", expects=expects, make=fixed(""))
    trials = []
    for number, value in enumerate(values):
        row = Example(id=str(number), question="?", answer=str(number))
        case = Case(
            example=row, kind=Kind.OPEN, gold=row.id, value=row.id, wrongs=("no",),
        )  # fmt: skip
        honest = Honest(case=case, right=right, wrongs=(wrong,))
        trials.append(Trial(honest=honest, completion=str(number), paid=Paid(value=value)))
    return Outcome(attack=attack, trials=tuple(trials), errors=(), slowest=0.0)


@pytest.mark.parametrize(
    ("expects", "values", "status"),
    [
        (Expect.WRONG, [0.1, 0.1], "pass"),
        (Expect.WRONG, [0.1, 1.0], "fail"),  # Equals the right answer in half of the rows.
        (Expect.WRONG, [0.1] * 19 + [0.3], "warn"),  # 0.2 / 20 = 0.01 on average.
        (Expect.WRONG, [0.1, 0.3], "fail"),  # 0.2 / 2 = 0.1 on average.
        (Expect.NEAR, [0.28, 0.28], "warn"),  # 0.18 of 0.9 is a fifth.
        (Expect.NEAR, [0.37, 0.37], "fail"),  # 0.27 of 0.9 is 0.3.
        (Expect.DOUBT, [1.0, 0.1], "warn"),
        (Expect.DOUBT, [1.01, 0.1], "fail"),
        (Expect.RIGHT, [1.0, 1.0], "pass"),
        (Expect.RIGHT, [0.9, 0.5], "warn"),  # 0.4 of 0.9 is less than half.
        (Expect.RIGHT, [1.0, 0.0], "fail"),  # The plain wrong answer earns 0.1.
        (Expect.FORM, [0.9, 0.9], "pass"),
        (Expect.FORM, [0.9, 1.0], "warn"),
    ],
)
def test_the_rules(expects: Expect, values: list[float], status: str) -> None:
    found = judge(outcome(expects, values, right=1.0, wrong=0.1), margin=0.05, pays_form=True)
    assert found.status == status


def test_an_interval_of_shares_is_wilsons() -> None:
    found = mean_of([0.25, 0.75] * 5)
    assert found is not None
    assert (found.value, found.n) == (0.5, 10)
    assert (found.low, found.high) == pytest.approx(wilson(5, 10))
