"""The reward bench as one HTML page: what each attack earns, and the answers that show it."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from vlmtune.reports import audit_plots, pages
from vlmtune.reports.thumbnails import Thumbnail
from vlmtune.types import JSON

TEMPLATE, STYLES, SCRIPT = "audit.html.j2", ("report.css", "audit.css"), "audit.js"
ICONS = {"pass": "✓", "warn": "!", "fail": "✕"}
WORST = {"fail": 0, "warn": 1, "pass": 2}
EXPECTS = {
    "wrong": "wrong answers",
    "near": "near misses",
    "doubt": "doubted or drowned answers",
    "right": "right answers in other words",
    "form": "right answers in broken form",
    "hollow": "right answers, explained by nothing",
}
SHOWN = 24
"""Attacks with examples, the worst first."""


def audit_page(
    report: Mapping[str, JSON], pictures: Mapping[str, Thumbnail] = MappingProxyType({})
) -> str:
    """Write the page.

    Args:
        report: What report.json holds.
        pictures: Small copies of the pictures of `shown_images`, by name; a name without one is
            written out.

    Returns:
        One HTML document that needs no network.
    """
    rewards = [_reward(one, number) for number, one in enumerate(report["rewards"])]
    return pages.fill(
        TEMPLATE,
        styles=STYLES,
        script=SCRIPT,
        report=report,
        rewards=rewards,
        pictures=pictures,
        title=f"Reward bench: {', '.join(one['reward'] for one in report['rewards'])}",
        icons=ICONS,
        settings=json.dumps(report["options"], indent=2, ensure_ascii=False),
    )


def shown_images(report: Mapping[str, JSON]) -> list[str]:
    """Name the pictures of the answers that the page shows, the worst attacks first."""
    found = (
        name
        for audit in report["rewards"]
        for attack in _bad(audit)[:SHOWN]
        for example in attack["examples"]
        for name in example.get("images", ())
    )
    return list(dict.fromkeys(found))


def headline(audit: Mapping[str, JSON]) -> str:
    """Say in a few words what an audit found."""
    games = sum(attack["status"] == "fail" for attack in audit["attacks"])
    constants = sum(one["status"] == "fail" for one in audit["constants"])
    broken = sum(check["status"] == "fail" for check in audit["checks"])
    said = []
    if games + constants:
        total = games + constants
        said.append(f"can be gamed in {total} way{'' if total == 1 else 's'}")
    if broken:
        said.append(f"fails {broken} check{'' if broken == 1 else 's'}")
    if said:
        return f"{audit['reward']} " + " and ".join(said)
    if audit["only_form"]:
        return f"{audit['reward']} pays for form alone"
    warned = audit["counts"]["warn"]
    if warned:
        return f"{audit['reward']} holds, with {warned} warning{'' if warned == 1 else 's'}"
    return f"{audit['reward']} holds against all {len(audit['attacks'])} attacks"


def _reward(audit: Mapping[str, JSON], number: int) -> dict[str, Any]:
    kinds = list(audit["kinds"])
    floor, right = audit["floor"]["value"], audit["right"]["value"]
    bad = _bad(audit)
    return {
        **audit,
        "anchor": f"reward-{number}",
        "headline": headline(audit),
        "kind_names": [kind.replace("_", "/") for kind in kinds],
        "families": _families(audit, kinds, floor=floor, right=right),
        "cards": _cards(audit),
        "constants": [_constant(one) for one in audit["constants"]],
        "checks": sorted(audit["checks"], key=lambda one: WORST[one["status"]]),
        "bad": bad[:SHOWN],
        "hidden": len(bad) - len(bad[:SHOWN]),
        "rules": _rules(audit["attacks"]),
    }


def _bad(audit: Mapping[str, JSON]) -> list[Mapping[str, JSON]]:
    return sorted(
        (one for one in audit["attacks"] if one["examples"]),
        key=lambda one: (WORST[one["status"]], -(one["gain"] or 0.0)),
    )


def _families(
    audit: Mapping[str, JSON], kinds: Sequence[str], *, floor: float, right: float
) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for attack in audit["attacks"]:
        family = found.setdefault(attack["family"], {"name": attack["family"], "lines": []})
        mean = attack["mean"]
        drawn = {
            "track": audit_plots.track(mean, floor=floor, right=right, status=attack["status"]),
            "strip": audit_plots.strip(attack["by_kind"], kinds, floor=floor, right=right),
        }
        family["lines"].append({**attack, **(drawn if mean else {"track": "", "strip": ""})})
    for family in found.values():
        statuses = [line["status"] for line in family["lines"]]
        family["status"] = min(statuses, key=lambda status: WORST[status])
        family["bad"] = sum(status != "pass" for status in statuses)
    return list(found.values())


def _cards(audit: Mapping[str, JSON]) -> list[dict[str, str]]:
    right, wrong = audit["right"], audit["wrong"]
    attacks = audit["attacks"]
    sly = [one for one in attacks if one["expects"] == "wrong" and one["gain"] is not None]
    top = max(sly, key=lambda one: one["gain"], default=None)
    passed = sum(one["status"] == "pass" for one in attacks)
    answers = sum(one["mean"]["n"] for one in attacks if one["mean"])
    return [
        {"label": "Right answers earn", "value": f"{right['value']:.2f}", "note": _range(right)},
        {"label": "Wrong answers earn", "value": f"{wrong['value']:.2f}", "note": _range(wrong)},
        {
            "label": "Attacks that earn nothing more",
            "value": f"{passed} of {len(attacks)}",
            "note": f"{answers:,} answers graded",
        },
        {
            "label": "Best wrong strategy",
            "value": "none" if top is None else f"{top['gain']:+.2f}".replace("-", "−"),
            "note": "" if top is None else f"{top['name']}, against a plain wrong answer",
        },
    ]


def _constant(constant: Mapping[str, JSON]) -> dict[str, Any]:
    drawn = audit_plots.track(
        constant["mean"], floor=0.0, right=constant["fair"], status=constant["status"]
    )
    return {**constant, "track": drawn, "kind": constant["kind"].replace("_", "/")}


def _rules(attacks: Sequence[Mapping[str, JSON]]) -> list[tuple[str, str]]:
    rules = {one["expects"]: one["rule"] for one in attacks}
    return [(EXPECTS[name], rule) for name, rule in rules.items()]


def _range(mean: Mapping[str, JSON]) -> str:
    return f"{mean['low']:.2f} to {mean['high']:.2f}, n = {mean['n']}"
