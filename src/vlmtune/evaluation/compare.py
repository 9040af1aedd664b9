"""Is B better than A? Two evaluations of the same questions, compared question by question.

Paired questions say far more than two separate intervals: what both got right or wrong cancels, and
only the questions on which they differ decide.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmtune.errors import ConfigError, DataError
from vlmtune.evaluation import metrics
from vlmtune.evaluation.benchmarks.cv_bench import ADE, COCO, OMNI
from vlmtune.types import JSON

REPORT = "report.json"
_NAMED = 5
_OFFICIAL_WEIGHTS = {ADE: 0.25, COCO: 0.25, OMNI: 0.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two evaluations.

    Attributes:
        path: Its report.json.
        report: What that holds.
    """

    path: Path
    report: Mapping[str, JSON]

    @property
    def benchmarks(self) -> Mapping[str, Mapping[str, JSON]]:
        """Benchmark name -> its part of the report."""
        found: Mapping[str, Mapping[str, JSON]] = self.report["benchmarks"]
        return found


def load(path: Path) -> Side:
    """Read an evaluation from its folder or its report.json.

    Raises:
        DataError: If there is no report, or it is not one of an evaluation.
    """
    file = path / REPORT if path.is_dir() else path
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"--compare {path}: there is no {REPORT}; name the --output_dir of an evaluation"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"--compare {file} cannot be read ({error})") from error
    benchmarks = report.get("benchmarks") if isinstance(report, dict) else None
    whole = isinstance(benchmarks, dict) and all(
        isinstance(part, dict) and "rows" in part for part in benchmarks.values()
    )
    if not whole:
        raise DataError(f"--compare {file} is no report of an evaluation: it has no benchmarks")
    return Side(path=file, report=report)


def compare(a: Side, b: Side, *, seed: int = 0) -> dict[str, JSON]:
    """Compare two evaluations on every benchmark that both have.

    Args:
        a: What came before: a base model, a direct prompt.
        b: What is to be better.
        seed: Fixes the bootstrap.

    Returns:
        `a` and `b` (model, style, path), and under `benchmarks` for each name: accuracies,
        `difference` (B minus A), the four counts, `mcnemar_p`, `bootstrap95`, the same for each
        group, `official` for CV-Bench, and `left_out`, the names that only one side has.

    Raises:
        ConfigError: If they have no benchmark in common.
        DataError: If their rows are not the same.
    """
    names = [name for name in a.benchmarks if name in b.benchmarks]
    if not names:
        raise ConfigError(
            f"nothing to compare: {a.path} has {', '.join(a.benchmarks) or 'nothing'}, "
            f"{b.path} has {', '.join(b.benchmarks) or 'nothing'}"
        )
    for name in names:
        _refuse_other_rows(name, a, b)
    return {
        "a": _about(a),
        "b": _about(b),
        "seed": seed,
        "benchmarks": {
            name: _compare_one(a.benchmarks[name], b.benchmarks[name], seed=seed) for name in names
        },
        "left_out": sorted(set(a.benchmarks) ^ set(b.benchmarks)),
    }


def _about(side: Side) -> dict[str, JSON]:
    return {"path": str(side.path), "model": side.report.get("model", {})}


def _refuse_other_rows(name: str, a: Side, b: Side) -> None:
    rows_a, rows_b = (
        {row["id"]: row["question"] for row in side.benchmarks[name]["rows"]} for side in (a, b)
    )
    only_a = [row for row in rows_a if row not in rows_b]
    only_b = [row for row in rows_b if row not in rows_a]
    other = [row for row in rows_a if row in rows_b and rows_a[row] != rows_b[row]]
    told = [
        f"{len(found)} {what} ({', '.join(found[:_NAMED])}{', ...' if len(found) > _NAMED else ''})"
        for found, what in (
            (only_a, "only in A"),
            (only_b, "only in B"),
            (other, "with another question under the same name"),
        )
        if found
    ]
    if told:
        raise DataError(
            f"{name}: the rows of {a.path} and {b.path} differ: {'; '.join(told)}; evaluate both "
            "on the same rows (same data, seed and --max_samples)"
        )


def _compare_one(a: Mapping[str, JSON], b: Mapping[str, JSON], *, seed: int) -> dict[str, JSON]:
    by_id = {row["id"]: row for row in b["rows"]}
    pairs = [(row, by_id[row["id"]]) for row in a["rows"]]
    groups: dict[str, dict[str, list[tuple[bool, bool]]]] = defaultdict(lambda: defaultdict(list))
    for one, other in pairs:
        for grouping, group in one["groups"].items():
            groups[grouping][group].append((one["correct"], other["correct"]))
    found = _paired([(one["correct"], other["correct"]) for one, other in pairs], seed=seed)
    found["settings"] = {
        side: {key: part.get(key) for key in ("style", "protocol")}
        for side, part in (("a", a), ("b", b))
    }
    found["groups"] = {
        grouping: {
            group: _paired(members, seed=seed)
            for group, members in sorted(parts.items(), key=lambda item: -len(item[1]))
        }
        for grouping, parts in groups.items()
    }
    official = _official(a, b, groups.get("source", {}), seed=seed)
    return {**found, "official": official} if official else found


def _paired(outcomes: Sequence[tuple[bool, bool]], *, seed: int) -> dict[str, JSON]:
    paired = metrics.pair([one for one, _ in outcomes], [other for _, other in outcomes])
    return {
        "n": paired.n,
        "accuracy_a": (paired.both + paired.only_a) / paired.n,
        "accuracy_b": (paired.both + paired.only_b) / paired.n,
        "difference": paired.difference,
        "both": paired.both,
        "only_a": paired.only_a,
        "only_b": paired.only_b,
        "neither": paired.neither,
        "mcnemar_p": metrics.mcnemar(paired),
        "bootstrap95": list(metrics.bootstrap_difference([(paired, 1.0)], seed=seed)),
    }


def _official(
    a: Mapping[str, JSON],
    b: Mapping[str, JSON],
    sources: Mapping[str, Sequence[tuple[bool, bool]]],
    *,
    seed: int,
) -> dict[str, JSON] | None:
    """Compare CV-Bench's combined scores, resampling within each source."""
    scores = [part.get("official", {}).get("cv_bench") for part in (a, b)]
    if None in scores or set(sources) != set(_OFFICIAL_WEIGHTS):
        return None
    strata = [
        (metrics.pair(*zip(*sources[name], strict=True)), weight)
        for name, weight in _OFFICIAL_WEIGHTS.items()
    ]
    return {
        "cv_bench_a": scores[0],
        "cv_bench_b": scores[1],
        "difference": scores[1] - scores[0],
        "bootstrap95": list(metrics.bootstrap_difference(strata, seed=seed)),
    }
