"""CIDEr against values worked by hand, and against the library over a whole corpus."""

import math

import pytest
from pycocoevalcap.cider.cider import Cider

from vlmtune.errors import DataError
from vlmtune.rewards import cider

PAIR = [["a b"], ["c d"]]
CORPUS = [
    ["a cat sits on the mat", "the cat is on a mat", "there is a cat on the mat"],
    ["two dogs run in the park", "dogs are running"],
    ["a red bus drives down the street", "the bus on the street is red"],
    ["có hai con mèo trên ghế", "hai con mèo nằm trên ghế"],
]
SAID = ["a cat on a mat", "two dogs run in the park", "a street", "hai con mèo trên cái ghế"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Every word stands in one of two rows, so each weighs ln 2, and the weights cancel.
        ("a b", 10 * (1 + 1) / 4),
        ("a c", 10 * 0.5 / 4),
        ("c d", 0.0),
        # One bigram more than the reference: the length penalty exp(-1 / 72).
        ("a b x", 10 * (2 / math.sqrt(6) + 1 / math.sqrt(2)) / 4 * math.exp(-1 / 72)),
        ("A,  B.", 5.0),
        ("", 0.0),
    ],
)
def test_a_sentence_of_two_words_scores_as_worked_by_hand(text, expected) -> None:
    corpus = cider.from_references(PAIR)
    assert corpus.documents == 2
    assert corpus.score(text, ["a b"]) == pytest.approx(expected, abs=1e-12)


def test_the_only_reference_itself_scores_ten() -> None:
    corpus = cider.from_references([["one two three four"], ["five six"]])
    assert corpus.score("one two three four", ["one two three four"]) == pytest.approx(10)


def test_a_word_that_every_row_uses_weighs_nothing() -> None:
    corpus = cider.from_references([["the cat"], ["the dog"]])
    assert corpus.score("the", ["the cat"]) == 0.0


def test_scores_are_those_of_the_library_over_the_whole_corpus() -> None:
    words = {row: [cider.tokens(text) for text in texts] for row, texts in enumerate(CORPUS)}
    said = {row: [cider.tokens(text)] for row, text in enumerate(SAID)}
    _, expected = Cider().compute_score(words, said)
    corpus = cider.from_references(CORPUS)
    ours = [corpus.score(text, texts) for text, texts in zip(SAID, CORPUS, strict=True)]
    assert ours == pytest.approx(list(expected), abs=1e-12)
    assert ours[0] > 1
    assert ours[1] > ours[0]


def test_counting_in_chunks_and_scoring_change_nothing(monkeypatch) -> None:
    whole = cider.from_references(CORPUS)
    monkeypatch.setattr(cider, "_CHUNK", 2)
    parts = cider.from_references(CORPUS)
    assert parts.frequencies == whole.frequencies
    before = dict(whole.frequencies)
    whole.score("words that nobody ever used", CORPUS[0])
    assert dict(whole.frequencies) == before


@pytest.mark.parametrize("references", [[], [["only one row"]], [["one"], [], ["", " . "]]])
def test_fewer_than_two_rows_weigh_no_word(references) -> None:
    with pytest.raises(DataError, match=r"[01] of the rows have reference explanations"):
        cider.from_references(references)


def test_a_text_longer_than_any_caption_scores_nothing() -> None:
    assert cider.from_references(PAIR).score("a b " * 25_000, ["a b"]) == 0.0
