"""An evaluation and a comparison as Markdown, for a terminal, a pull request or a diary."""

from collections.abc import Mapping, Sequence

from vlmtune.reports.evaluation_page import percent, points, probability
from vlmtune.types import JSON

_OFFICIAL = ("acc_2d", "acc_3d", "cv_bench", "micro")


def evaluation_text(report: Mapping[str, JSON]) -> str:
    """Write report.md.

    Args:
        report: What report.json holds.
    """
    lines = [
        f"# Evaluation of {_cell(report['model']['name'])}",
        "",
        f"Backend {report['backend']}, style {report['style']}, vlmtune {report['vlmtune']}.",
        "",
    ]
    header = ("benchmark", "protocol", "n", "accuracy %", "95 % interval", "unreadable", "missing")
    rows = [
        (name, one["protocol"], one["n"], percent(one["accuracy"]), _interval(one),
         one["unreadable"], one["missing"])
        for name, one in report["benchmarks"].items()
    ]  # fmt: skip
    lines += [*_table(header, rows), ""]
    for name, one in report["benchmarks"].items():
        lines += [f"## {name}", "", *_benchmark(one)]
    lines.append(
        "Intervals are Wilson's. Unreadable answers count as not correct; rows without a picture "
        "count in nothing."
    )
    return "\n".join(lines) + "\n"


def _benchmark(one: Mapping[str, JSON]) -> list[str]:
    lines = [f"Note: {_cell(note)}.\n" for note in one["notes"]]
    if "official_raw" in one:
        lines += _cv_bench(one)
    if one.get("yes_bias"):
        bias = one["yes_bias"]
        lines.append(
            f"Said yes {percent(bias['said'])} % of {bias['n']} readable answers, where "
            f"{percent(bias['gold'])} % were: bias {points(bias['bias'])} points.\n"
        )
    if one.get("auc_roc") is not None:
        lines += [f"AUC-ROC {one['auc_roc']:.4f}, AUC-PR {one['auc_pr']:.4f}.", ""]
    for grouping, groups in one["groups"].items():
        rows = [
            (group, part["n"], percent(part["accuracy"]), _interval(part), part["unreadable"])
            for group, part in groups.items()
        ]
        header = (grouping, "n", "accuracy %", "95 % interval", "unreadable")
        lines += [*_table(header, rows), ""]
    official = one.get("official", {})
    for key, title in (("relation_text", "By relation"), ("category_text", "By category")):
        if key in official:
            lines += [f"{title}, as the official script prints it:", "", "```", official[key]]
            lines += ["```", ""]
    if official.get("unmapped"):
        told = ", ".join(f"{name} ({count})" for name, count in official["unmapped"].items())
        lines += [f"Of no category, and so not in the last table: {_cell(told)}.", ""]
    if one["missing"]:
        shown = one["missing_rows"][:20]
        lines += [f"{one['missing']} rows without a picture:", ""]
        lines += [f"- {_cell(row['id'])}: {_cell(row['why'])}" for row in shown]
        more = one["missing"] - len(shown)
        lines += [f"- and {more} more, in report.json", ""] if more else [""]
    return lines


def _cv_bench(one: Mapping[str, JSON]) -> list[str]:
    readers = {
        "official": one["official_raw"],
        "official on the answer tags": one["official_answer_tag"],
        "robust": one["robust"],
    }
    sources = list(one["official_raw"]["sources"])
    rows = [
        (
            title,
            *(percent(found["sources"].get(name)) for name in sources),
            *(percent(found[key]) for key in _OFFICIAL),
        )
        for title, found in readers.items()
    ]
    lines = [*_table(("reading", *sources, "2D", "3D", "CV-Bench", "micro"), rows), ""]
    lines += [f"Headline reading: {one['official_reading']}.", ""]
    if refused := one["official_raw"].get("refused"):
        lines += [f"No combined score: {_cell(refused)}.", ""]
    return lines


def comparison_text(comparison: Mapping[str, JSON]) -> str:
    """Write compare.md.

    Args:
        comparison: What compare.json holds.
    """
    a, b = comparison["a"], comparison["b"]
    lines = [
        f"# {_cell(b['model'].get('name', 'B'))} against {_cell(a['model'].get('name', 'A'))}",
        "",
        f"A: {_cell(a['path'])}. B: {_cell(b['path'])}. Differences are B minus A.",
        "",
    ]
    header = ("", "n", "A %", "B %", "difference", "95 % interval", "only A", "only B", "p")
    for name, one in comparison["benchmarks"].items():
        rows = [_compared("all", one)]
        for groups in one["groups"].values():
            rows += [_compared(group, part) for group, part in groups.items()]
        lines += [f"## {name}", "", *_table(header, rows), ""]
        if "official" in one:
            official = one["official"]
            low, high = official["bootstrap95"]
            lines.append(
                f"Official CV-Bench score: A {percent(official['cv_bench_a'])}, "
                f"B {percent(official['cv_bench_b'])}, difference {points(official['difference'])} "
                f"({points(low)} to {points(high)}).\n"
            )
    if comparison["left_out"]:
        lines += [f"Only in one of the two: {', '.join(comparison['left_out'])}.", ""]
    lines.append("Intervals: paired bootstrap. p: McNemar's exact test, two-sided.")
    return "\n".join(lines) + "\n"


def _compared(name: str, one: Mapping[str, JSON]) -> tuple[object, ...]:
    low, high = one["bootstrap95"]
    return (
        name, one["n"], percent(one["accuracy_a"]), percent(one["accuracy_b"]),
        points(one["difference"]), f"{points(low)} to {points(high)}", one["only_a"],
        one["only_b"], probability(one["mcnemar_p"]),
    )  # fmt: skip


def _interval(one: Mapping[str, JSON]) -> str:
    low, high = one["wilson95"]
    return f"{percent(low)} to {percent(high)}"


def _table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines]


def _cell(value: object) -> str:
    """Keep a value in its place: no line breaks, no column bars, no markup."""
    text = " ".join(str(value).split())
    for sign in ("\\", "|", "<", "`"):
        text = text.replace(sign, "\\" + sign)
    return text
