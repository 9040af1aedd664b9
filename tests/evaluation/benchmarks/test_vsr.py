"""VSR's tables on constructed rows, worked by hand; the relation table's quirks."""

import math

import pytest

from vlmtune.errors import DataError
from vlmtune.evaluation.benchmarks import vsr_relations as relations
from vlmtune.evaluation.benchmarks.vsr import (
    BENCHMARK,
    FALSE,
    LIKELIHOOD,
    TRUE,
    TRUE_FALSE,
    YES_NO,
    official_tables,
)
from vlmtune.types import JSON, BenchmarkRow, Kind, Verdict

SIZES = {
    "Adjacency": 10,
    "Directional": 16,
    "Orientation": 4,
    "Projective": 12,
    "Proximity": 5,
    "Topological": 18,
    "Unallocated": 6,
}


def test_the_table_has_71_entries_and_70_relations() -> None:
    assert {name: len(members) for name, members in relations.LINES.items()} == SIZES
    assert sum(SIZES.values()) == 71 and len(relations.CATEGORY) == 70


def test_the_later_line_wins_for_among() -> None:
    assert "among" in relations.LINES["Topological"]
    assert relations.CATEGORY["among"] == "Unallocated"
    assert "congruent" not in relations.CATEGORY


@pytest.mark.parametrize(
    ("caption", "relation"),
    [
        ("The cat is facing away from the dog.", "facing away from"),
        ("The cat is facing the dog.", "facing"),
        ("The person is behind the bench.", "behind"),
        ("The cow is beneath the bench.", "beneath"),
        ("The cake is at the edge of the dining table.", "at the edge of"),
        ("The bird is far away from the boat.", "far away from"),
        ("The horse has as a part the person.", "has as a part"),
        ("The pizza is congruent the plate.", "congruent"),
        ("The onion contains the inside.", "contains"),
        ("The cat sees a dog.", None),
    ],
)
def test_a_relation_is_found_by_whole_words_the_longest_first(
    caption: str, relation: str | None
) -> None:
    assert relations.find(caption) == relation


def test_a_caption_gives_back_the_subject_that_its_column_has_lost() -> None:
    parts = relations.parse("The hot dog is ahead of the person.", relation="ahead of")
    assert parts == relations.Parts(subject="hot dog", relation="ahead of", object="person")
    plural = relations.parse("The cow contains the cups.", relation="contains")
    assert plural == relations.Parts(subject="cow", relation="contains", object="cups")
    assert relations.parse("A cat on a mat", relation="on") is None


def test_the_tables_are_sorted_and_printed_as_the_official_scripts_do() -> None:
    outcomes = [
        ("under", True), ("on", True), ("on", False), ("on", True), ("among", False),
        ("left of", False), ("under", True), ("congruent", True), ("near", True),
    ]  # fmt: skip
    found = official_tables(outcomes)
    # By count, ties in order of appearance: on 3, under 2, then among, left of, congruent, near.
    assert found["relation_text"] == (
        "on\t0.6667\t3\nunder\t1.0000\t2\namong\t0.0000\t1\nleft of\t0.0000\t1\n"
        "congruent\t1.0000\t1\nnear\t1.0000\t1"
    )
    # Projective (under, under, left of) 2/3; Topological (on) 2/3; Proximity 1; among Unallocated.
    assert found["category_text"] == (
        "Proximity\t1.0000\t1\nProjective\t0.6667\t3\nTopological\t0.6667\t3\nUnallocated\t0.0000\t1"
    )
    assert found["unmapped"] == {"congruent": 1}
    assert found["accuracy"] == 6 / 9


def row(label: JSON = 1, **columns: JSON) -> dict[str, JSON]:
    return {
        "image": "1.jpg",
        "caption": "The cat is on the mat.",
        "label": label,
        "relation": "on",
        **columns,
    }


@pytest.mark.parametrize(
    ("completion", "label", "verdict"),
    [
        ("Yes", 1, Verdict.CORRECT),
        ("No.", 1, Verdict.WRONG),
        ("True", 1, Verdict.CORRECT),
        ("False", 0, Verdict.CORRECT),
        ("true", 0, Verdict.WRONG),
        ("<think>mat below cat</think><answer>yes</answer>", 1, Verdict.CORRECT),
        ("", 1, Verdict.UNREADABLE),
        ("I don't know", 0, Verdict.UNREADABLE),
        ("yes and no", 1, Verdict.UNREADABLE),
    ],
)
def test_an_answer_is_read_as_yes_or_no(completion: str, label: int, verdict: Verdict) -> None:
    assert BENCHMARK.judge(row(label), completion, thinking=False).verdict is verdict


def test_votes_written_as_text_become_a_group() -> None:
    def group(true: str, false: str) -> str | None:
        columns = row(vote_true_validator_id=true, vote_false_validator_id=false)
        return BENCHMARK.judge(columns, "yes", thinking=False).groups.get("annotators")

    assert group("[2, 9]", "[]") == "unanimous"
    assert group("[2, 9]", "[7]") == "split vote"
    assert group("[]", "[]") == "no votes"
    assert "annotators" not in BENCHMARK.judge(row(), "yes", thinking=False).groups


def test_a_row_without_a_relation_column_is_grouped_by_its_caption() -> None:
    columns = row()
    del columns["relation"]
    groups = BENCHMARK.judge(columns, "yes", thinking=False).groups
    assert groups["relation"] == "on" and groups["category"] == "Topological"


@pytest.mark.parametrize("label", [2, "yes", None, 0.5])
def test_a_label_that_is_no_label_is_refused(label: JSON) -> None:
    with pytest.raises(DataError, match="it should be 1 or 0"):
        BENCHMARK.judge(row(label), "yes", thinking=False)


def test_the_three_protocols_ask_in_their_own_words() -> None:
    asked = {
        name: BENCHMARK.example(BenchmarkRow(id="0", columns=row()), protocol=name)
        for name in BENCHMARK.protocols
    }
    assert list(asked) == [YES_NO, TRUE_FALSE, LIKELIHOOD]
    assert asked[YES_NO].question == 'Is this statement true? "The cat is on the mat."'
    assert asked[YES_NO].kind is Kind.YES_NO and asked[YES_NO].answer == "yes"
    assert asked[TRUE_FALSE].question == (
        'Based on the image, is this statement "True" or "False"? The cat is on the mat.\n'
        'Respond with "True" or "False" directly.'
    )
    assert asked[LIKELIHOOD].question == (
        'Based on the image, is this statement true or false? "The cat is on the mat." Answer:'
    )
    assert asked[TRUE_FALSE].answer == TRUE
    assert BENCHMARK.candidates(LIKELIHOOD) == (TRUE, FALSE)
    assert BENCHMARK.candidates(YES_NO) == ()


def test_likelihoods_give_the_areas_under_both_curves() -> None:
    # p(True) .9, .6, .5, .1 for labels 1, 0, 1, 0: ROC 3/4, average precision 5/6.
    pairs = []
    for label, share in ((1, 0.9), (0, 0.6), (1, 0.5), (0, 0.1)):
        logprobs = {TRUE: math.log(share) - 40, FALSE: math.log(1 - share) - 40}
        columns = row(label, logprobs=logprobs)
        said = TRUE if share >= 0.5 else FALSE
        pairs.append((columns, BENCHMARK.judge(columns, said, thinking=False)))
    found = BENCHMARK.summary(pairs, thinking=False)
    assert found["auc_roc"] == 0.75
    assert found["auc_pr"] == pytest.approx(5 / 6)
    assert found["confusion"] == {"yes": {"yes": 2}, "no": {"yes": 1, "no": 1}}
    assert found["yes_bias"] == {"said": 0.75, "gold": 0.5, "bias": 0.25, "n": 4}


def test_areas_survive_likelihoods_far_below_the_smallest_float() -> None:
    pairs = []
    for label, logs in ((1, (-1.0, -2000.0)), (0, (-3000.0, -2.0))):
        columns = row(label, logprobs={TRUE: logs[0], FALSE: logs[1]})
        pairs.append((columns, BENCHMARK.judge(columns, TRUE, thinking=False)))
    assert BENCHMARK.summary(pairs, thinking=False)["auc_roc"] == 1.0
