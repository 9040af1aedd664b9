"""VSR: is a statement about a picture true? 1,222 questions of the zero-shot test split.

    {"image": "000000451431.jpg", "image_link": "http://images.cocodataset.org/...",
     "caption": "The person is inside the refrigerator.", "label": 1, "relation": "inside",
     "annotator_id": 4, "vote_true_validator_id": "[2, 9]", "vote_false_validator_id": "[]"}

Pictures are COCO 2017 and not part of the rows: `--image_folder` says where they lie. Three
protocols ask in three ways and give three different numbers; a report names the one it used.

Source: Liu, Emerson and Collier 2023, TACL 11, arXiv:2205.00363; analysis scripts of
cambridgeltl/visual-spatial-reasoning (Apache-2.0). The two true-or-false wordings are those of
TRI-ML's vlm-evaluation.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vlmtune.errors import DataError
from vlmtune.evaluation import metrics, readings
from vlmtune.evaluation.benchmarks import vsr_relations as relations
from vlmtune.evaluation.rows import python_list, read
from vlmtune.types import JSON, BenchmarkRow, Example, Judgement, Kind, RowSource, Verdict

YES_NO, TRUE_FALSE, LIKELIHOOD = "generate-yes-no", "generate-true-false", "likelihood"
TRUE, FALSE = "True", "False"
WORDING: Mapping[str, str] = {
    YES_NO: 'Is this statement true? "{caption}"',
    TRUE_FALSE: 'Based on the image, is this statement "True" or "False"? {caption}\n'
    'Respond with "True" or "False" directly.',
    LIKELIHOOD: 'Based on the image, is this statement true or false? "{caption}" Answer:',
}
NO_CATEGORY = "no category"

Rows = Callable[[RowSource], Iterator[BenchmarkRow]]
Judged = Sequence[tuple[Mapping[str, JSON], Judgement]]


def from_hub(name: str, *, repository: str) -> Rows:
    """Make the source of a split's rows: a local file, or the test split on the hub."""

    def rows(source: RowSource) -> Iterator[BenchmarkRow]:
        """Read the rows of the split that was named."""
        return read(source, name=name, repository=repository, key=None)

    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class VSR:
    """The benchmark, over any of its splits or rows in its shape.

    Attributes:
        name: As reports print it.
        source: Gives the rows.
    """

    name: str
    source: Rows = field(repr=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns without which an answer cannot be graded."""
        return ("image", "caption", "label")

    @property
    def key(self) -> str | None:
        """Rows have no name but their number."""
        return None

    @property
    def protocols(self) -> Mapping[str, str]:
        """Ways to ask."""
        return {
            YES_NO: "the model writes yes or no; worded as in training",
            TRUE_FALSE: "the model writes True or False",
            LIKELIHOOD: "the likelier of True and False counts; nothing is written",
        }

    def rows(self, source: RowSource) -> Iterator[BenchmarkRow]:
        """Yield rows in the benchmark's order."""
        return self.source(source)

    def example(self, row: BenchmarkRow, *, protocol: str) -> Example:
        """Put a row as a question."""
        gold = _gold(row.columns)
        usual = protocol == YES_NO
        return Example(
            id=f"{self.name}/{row.id}",
            images=(row.image,) if row.image is not None else (),
            question=WORDING[protocol].format(caption=row.columns["caption"]),
            answer=gold if usual else TRUE if gold == readings.YES else FALSE,
            kind=Kind.YES_NO if usual else Kind.OPEN,
            source=self.name,
        )

    def candidates(self, protocol: str) -> tuple[str, ...]:
        """True and False for the protocol that compares likelihoods, else nothing."""
        return (TRUE, FALSE) if protocol == LIKELIHOOD else ()

    def judge(self, columns: Mapping[str, JSON], completion: str, *, thinking: bool) -> Judgement:
        """Read yes or no, in any of its forms, and compare with the label."""
        gold = _gold(columns)
        caption = str(columns["caption"])
        found = readings.yes_or_no(WORDING[YES_NO].format(caption=caption), completion)
        relation = str(columns.get("relation") or relations.find(caption) or "no known relation")
        groups = {
            "category": relations.CATEGORY.get(relation, NO_CATEGORY),
            "relation": relation,
        }
        if (agreement := _agreement(columns)) is not None:
            groups["annotators"] = agreement
        parts = relations.parse(caption, relation=relation)
        verdict = Verdict.CORRECT if found == gold else Verdict.WRONG
        return Judgement(
            verdict=verdict if found else Verdict.UNREADABLE,
            gold=gold,
            reading=found,
            groups=groups,
            details={} if parts is None else {"subject": parts.subject, "object": parts.object},
        )

    def summary(self, judged: Judged, *, thinking: bool) -> Mapping[str, JSON]:
        """Add the tables of the official scripts, the confusion, the bias and the curves."""
        pairs = [(judgement.gold, judgement.reading) for _, judgement in judged]
        found: dict[str, JSON] = {
            "official": official_tables(
                [(j.groups["relation"], j.verdict is Verdict.CORRECT) for _, j in judged]
            ),
            "confusion": metrics.confusion(pairs),
            "yes_bias": metrics.yes_bias(pairs),
            "always_yes": sum(gold == readings.YES for gold, _ in pairs) / len(pairs),
            "chance": 0.5,
        }
        if all(_has_logprobs(columns) for columns, _ in judged):
            labels = [gold == readings.YES for gold, _ in pairs]
            scores = [_probability(columns["logprobs"]) for columns, _ in judged]
            found["auc_roc"] = metrics.auc_roc(labels, scores)
            found["auc_pr"] = metrics.auc_pr(labels, scores)
        return found


def official_tables(outcomes: Sequence[tuple[str, bool]]) -> dict[str, JSON]:
    """Compute what the two official analysis scripts print.

    Args:
        outcomes: (relation, correct) of every row, in the file's order; unreadable is not correct.

    Returns:
        `accuracy`; `relation` and `category`, lists of {name, accuracy, n}, the first sorted by
        n and the second by accuracy, both falling, ties in order of appearance; `unmapped`,
        relations of no category with their counts, which the second table leaves out;
        `relation_text` and `category_text`, the same as the scripts' lines. A category without
        rows, at which the script divides by zero, is left out.
    """
    by_relation: dict[str, list[bool]] = defaultdict(list)
    by_category: dict[str, list[bool]] = {name: [] for name in relations.LINES}
    unmapped: Counter[str] = Counter()
    for relation, correct in outcomes:
        by_relation[relation].append(correct)
        if relation in relations.CATEGORY:
            by_category[relations.CATEGORY[relation]].append(correct)
        else:
            unmapped[relation] += 1
    tables = {
        "relation": sorted(_table(by_relation), key=lambda line: -line["n"]),
        "category": sorted(_table(by_category), key=lambda line: -line["accuracy"]),
    }
    return {
        "accuracy": sum(correct for _, correct in outcomes) / len(outcomes),
        **tables,
        "unmapped": dict(unmapped),
        **{f"{name}_text": _printed(table) for name, table in tables.items()},
    }


def _table(groups: Mapping[str, Sequence[bool]]) -> list[dict[str, JSON]]:
    return [
        {"name": name, "accuracy": sum(found) / len(found), "n": len(found)}
        for name, found in groups.items()
        if found
    ]


def _printed(table: Sequence[Mapping[str, JSON]]) -> str:
    return "\n".join(f"{line['name']}\t{line['accuracy']:.4f}\t{line['n']}" for line in table)


def _gold(columns: Mapping[str, JSON]) -> str:
    label = columns["label"]
    if label not in (0, 1, "0", "1"):
        raise DataError(
            f"VSR row {str(columns.get('caption'))[:80]!r}: 'label' is {label!r}; it should be 1 "
            "or 0"
        )
    return readings.YES if int(label) else readings.NO


def _agreement(columns: Mapping[str, JSON]) -> str | None:
    """Say whether all validators agreed; their ids are lists that were written as text."""
    votes = [python_list(columns.get(f"vote_{side}_validator_id")) for side in ("true", "false")]
    if not all(isinstance(vote, Sequence) and not isinstance(vote, str) for vote in votes):
        return None
    if not any(votes):
        return "no votes"
    return "split vote" if all(votes) else "unanimous"


def _has_logprobs(columns: Mapping[str, JSON]) -> bool:
    found = columns.get("logprobs")
    return isinstance(found, Mapping) and {TRUE, FALSE} <= set(found)


def _probability(logprobs: Mapping[str, float]) -> float:
    """Normalise over the two answers."""
    # The larger exponent is 0, so nothing overflows and the sum is never 0.
    gap = logprobs[FALSE] - logprobs[TRUE]
    return 1 / (1 + math.exp(gap)) if gap < 0 else math.exp(-gap) / (1 + math.exp(-gap))


BENCHMARK = VSR(name="VSR", source=from_hub("VSR", repository="cambridgeltl/vsr_zeroshot"))
