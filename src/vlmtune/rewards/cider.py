"""CIDEr of one sentence, weighed by how rare its word groups are in a whole dataset.

references of a dataset   [["a cat on a mat", "the cat lies on a mat"], ["two dogs run"], ...]
score("a cat on a mat", ["a cat on a mat"])    10: the same sentence
score("two cats", ["a cat on a mat"])          near 0

Frequencies are counted once over the dataset's references. Counted over a batch of a few sentences
they would make every common word look rare, and the same answer would earn another reward in
another batch.

The sums are those of `pycocoevalcap`, the code of the COCO caption challenge (its variant is known
as CIDEr-D). Its tokenizer is a Java program for English; here words are those of every other
reader, which suits Vietnamese: NFC, no case, no punctuation.

Source: Vedantam et al. 2015, arXiv:1411.5726.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from vlmtune.errors import DataError, MissingDependency
from vlmtune.language.normalise import LONGEST_TEXT, fold, words_of

Ngram: TypeAlias = tuple[str, ...]

LARGEST = 10.0
"""The score of a sentence that equals its only reference."""
_CHUNK = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusCider:
    """CIDEr with the document frequencies of one dataset.

    Attributes:
        documents: Rows with references, at least 2.
        frequencies: Word group -> rows in whose references it occurs.
    """

    documents: int
    frequencies: Mapping[Ngram, float] = field(repr=False)

    def score(self, text: str, references: Sequence[str]) -> float:
        """Compare one text with its references.

        Args:
            text: Any; one that is blank or longer than any caption scores 0.
            references: At least one.

        Returns:
            CIDEr, 0 to 10, the mean over the references.
        """
        said = tokens(text)
        if not said:
            return 0.0
        scorer = _scorer(said, [tokens(reference) for reference in references])
        scorer.document_frequency = self.frequencies
        # The library takes the number of rows from the length of this list, and scores the first.
        scorer.crefs += [()] * (self.documents - 1)
        return float(scorer.compute_cider()[0])


def from_references(references: Iterable[Sequence[str]]) -> CorpusCider:
    """Count how many rows use each group of one to four words.

    Args:
        references: The references of each row; rows without any do not count.

    Raises:
        DataError: If fewer than two rows have references: every word would be worth nothing.
        MissingDependency: If the library is not installed.
    """
    counting, documents = _scorer(None, None), 0
    for texts in references:
        words = [found for text in texts if (found := tokens(text))]
        if not words:
            continue
        counting.cook_append(None, words)
        documents += 1
        if len(counting.crefs) == _CHUNK:
            _count(counting)
    _count(counting)
    if documents < 2:
        raise DataError(
            f"CIDEr weighs words by how many rows use them, and {documents} of the rows have "
            "reference explanations; use at least 2, or reward.explanation.alpha: 0"
        )
    # A Counter does not grow when an unknown group of words is looked up.
    return CorpusCider(documents=documents, frequencies=Counter(counting.document_frequency))


def tokens(text: str) -> str:
    """Write a text as its words, one space between; "" when it is longer than any caption."""
    return "" if len(text) > LONGEST_TEXT else " ".join(words_of(fold(text)))


def _count(scorer: Any) -> None:
    scorer.compute_doc_freq()
    scorer.crefs, scorer.ctest = [], []


def _scorer(text: str | None, references: Sequence[str] | None) -> Any:
    try:
        from pycocoevalcap.cider.cider_scorer import CiderScorer
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("pycocoevalcap"):
            raise
        raise MissingDependency(
            "reward explanation needs pycocoevalcap for CIDEr: pip install 'vlmtune[captions]', "
            "or set reward.explanation.alpha: 0"
        ) from None
    return CiderScorer(test=text, refs=references)
