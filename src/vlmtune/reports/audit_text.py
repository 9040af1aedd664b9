"""The reward bench in a terminal: one table of attacks by family, one of what was paid."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlmtune.reports.audit_page import ICONS, WORST, headline
from vlmtune.types import JSON

STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def print_audit(audit: Mapping[str, JSON], console: Console) -> None:
    """Print one reward's audit.

    Args:
        audit: One entry of report.json's "rewards".
        console: Where to.
    """
    console.print()
    console.print(Text(headline(audit), style=STYLES[audit["status"]]))
    right, wrong = audit["right"], audit["wrong"]
    console.print(
        f"{audit['rows']} rows, honest answers as {audit['form']}: right earns "
        f"{_mean(right)}, wrong earns {_mean(wrong)} (n = {wrong['n']})",
        markup=False,
    )
    console.print(_families(audit))
    paid = [one for one in audit["attacks"] if one["status"] != "pass"]
    if paid:
        console.print(_paid(sorted(paid, key=lambda one: WORST[one["status"]])))
    console.print(_constants(audit))
    for check in sorted(audit["checks"], key=lambda one: WORST[one["status"]]):
        line = Text(f"{ICONS[check['status']]} ", style=STYLES[check["status"]])
        console.print(line.append(f"{check['name']}: {check['detail']}", style="default"))


def _families(audit: Mapping[str, JSON]) -> Table:
    table = Table("attacks", "tried", "fail", "warn", "best mean reward", box=None, pad_edge=False)
    for name in dict.fromkeys(one["family"] for one in audit["attacks"]):
        lines = [one for one in audit["attacks"] if one["family"] == name]
        known = [one for one in lines if one["mean"] and one["mean"]["value"] is not None]
        best = max(known, key=lambda one: one["mean"]["value"], default=None)
        fails = sum(one["status"] == "fail" for one in lines)
        warns = sum(one["status"] == "warn" for one in lines)
        style = STYLES["fail" if fails else "warn" if warns else "pass"]
        table.add_row(
            Text(name, style=style), str(len(lines)), str(fails), str(warns),
            "" if best is None else Text(f"{_mean(best['mean'])} {best['name']}"),
        )  # fmt: skip
    return table


def _paid(attacks: list[Mapping[str, JSON]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("", "attack", "earns", "n"):
        table.add_column(title, no_wrap=True)
    table.add_column("what it shows")
    for one in attacks:
        said = Text(one["said"])
        if one["examples"]:
            said.append(f"\n{_told(one['examples'][0])}", style="dim")
        known = one["mean"] and one["mean"]["value"] is not None
        table.add_row(
            Text(one["status"], style=STYLES[one["status"]]),
            Text(one["name"]),
            f"{one['mean']['value']:.2f}" if known else "",
            str(one["mean"]["n"]) if one["mean"] else "",
            said,
        )
    return table


def _told(shown: Mapping[str, JSON]) -> str:
    """Show the answer of a completion, without the tags around it."""
    answer = " ".join(shown["completion"].split())
    answer = answer.rpartition("<answer>")[2].partition("</answer>")[0][:60]
    earned = "no number" if shown["value"] is None else f"{shown['value']:.2f}"
    return f"gold {shown['gold'][:30]}, said {answer!r}: {earned}"


def _constants(audit: Mapping[str, JSON]) -> Table:
    table = Table(
        "", "kind", "best constant", "earns", "n", "best guess", "golds", box=None, pad_edge=False
    )
    for one in audit["constants"]:
        table.add_row(
            Text(one["status"], style=STYLES[one["status"]]),
            one["kind"].replace("_", "/"),
            Text(one["answer"][:40]),
            _mean(one["mean"]),
            str(one["mean"]["n"]),
            f"{one['fair']:.2f}",
            Text(f"{one['share']:.0%} are {one['majority'][:30]}"),
        )
    return table


def _mean(mean: Mapping[str, JSON]) -> str:
    if mean["value"] is None:
        return "no number"
    return f"{mean['value']:.2f} ({mean['low']:.2f} to {mean['high']:.2f})"
