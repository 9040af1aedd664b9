"""Turns run.json into the head of the page: verdict, facts, key numbers, checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from markupsafe import Markup

from vlmtune.reports import plots
from vlmtune.reports.figures import share_range
from vlmtune.types import JSON

_ICONS = {"pass": "✓", "warn": "!", "fail": "✕"}
_ORDER = {"fail": 0, "warn": 1, "pass": 2}
_STAGES = {
    "grpo": "Group relative policy optimisation",
    "dpo": "Direct preference optimisation",
    "sft": "Supervised fine-tuning",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One key number.

    Attributes:
        label: What it is.
        value: As people read it.
        note: n and interval, or what stands behind it.
        meter: A small drawing, or "".
    """

    label: str
    value: str
    note: str
    meter: Markup = plots.NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The page's first words."""

    status: str
    icon: str
    headline: str
    sentence: str


def verdict(run: Mapping[str, JSON]) -> Verdict:
    """Say in one line whether a real run is worth starting."""
    counts = {
        status: sum(check["status"] == status for check in run["checks"]) for status in _ICONS
    }
    scripted = run["backend"] == "scripted"
    # Without a model nothing was learned about one, only about everything around it.
    good = (
        ("Everything fits together", "Everything fits") if scripted else ("Ready to train", "Ready")
    )
    headline = {
        "pass": good[0],
        "warn": f"{good[1]}, with {_count(counts['warn'], 'warning')}",
        "fail": f"Not ready: {_count(counts['fail'], 'check')} failed",
    }[run["status"]]
    model, rows = run["model"], run["data"]["kept"]
    who = "No model took part: scripted answers" if scripted else model["name"]
    if run["stage"] == "grpo":
        did = f"{rows * run['details']['generations']} answers to {_count(rows, 'prompt')}"
    elif run["stage"] == "dpo":
        did = f"{_count(rows, 'pair')} of answers scored"
    else:
        did = f"{_count(rows, 'target')} scored"
    sentence = f"{who} · {did} · {run['seconds']:.1f} s · no weight moved"
    return Verdict(
        status=run["status"], icon=_ICONS[run["status"]], headline=headline, sentence=sentence
    )


def stage_title(run: Mapping[str, JSON]) -> str:
    """The stage's full name."""
    return _STAGES[run["stage"]]


def facts(run: Mapping[str, JSON]) -> list[tuple[str, str]]:
    """List what ran."""
    config, model = run["config"], run["model"]
    rows = [
        ("Stage", run["stage"].upper()),
        ("Backend", run["backend"]),
        ("Model", model["name"]),
        ("Parameters", parameters(model["parameters"])),
        ("Rows", ", ".join(_source(source) for source in run["data"]["sources"])),
        ("Prompt style", config["prompt"]["style"]),
    ]
    if run["stage"] == "grpo":
        grpo = config["grpo"]
        rows += [
            ("Group size G", str(grpo["num_generations"])),
            ("Temperature", f"{grpo['temperature']:g}"),
            ("Reward", run.get("details", {}).get("reward", config["reward"]["type"])),
        ]
    return [*rows, ("Seed", str(config["seed"])), ("Seconds", f"{run['seconds']:.1f}")]


def checks(run: Mapping[str, JSON]) -> list[dict[str, str]]:
    """List the checks, the bad ones first."""
    ordered = sorted(run["checks"], key=lambda check: _ORDER[check["status"]])
    return [
        {
            "status": check["status"],
            "icon": _ICONS[check["status"]],
            "name": check["name"].replace("_", " "),
            "detail": check["detail"],
        }
        for check in ordered
    ]


def cards(run: Mapping[str, JSON]) -> list[Card]:
    """Choose the key numbers of the stage."""
    chosen = {"grpo": _grpo_cards, "sft": _sft_cards, "dpo": _dpo_cards}
    return chosen[run["stage"]](run)


def extremes(
    run: Mapping[str, JSON], samples: Sequence[Mapping[str, JSON]]
) -> list[tuple[str, list[dict[str, JSON]]]]:
    """List the best and the worst groups of GRPO with their places on the page."""
    places = {sample["example_id"]: index for index, sample in enumerate(samples, start=1)}
    found = run["details"].get("extremes", {})
    means = [group["reward_mean"] for name in found for group in found[name]]
    if not means or min(means) == max(means):
        return []
    return [
        (title, [group | {"number": places[group["example_id"]]} for group in found[name]])
        for name, title in (("best", "Best groups"), ("worst", "Worst groups"))
    ]


def parameters(count: int) -> str:
    """Write a number of weights: 3145728 -> "3.1 M"."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count) if count else "none"


def _told(value: float | None) -> str:
    """Write a number; "none" where no reward applies to enough answers."""
    return "none" if value is None else f"{value:.2f}"


def _grpo_cards(run: Mapping[str, JSON]) -> list[Card]:
    metrics, found = run["metrics"], run["estimates"]
    group = f"{_told(metrics['reward/group_std'])} within a group"
    return [
        Card(
            label="Mean reward",
            value=_told(metrics["reward/mean"]),
            note=f"spread {_told(metrics['reward/std'])}, {group}",
        ),
        *_share_cards(
            found,
            {
                "accuracy": "Right answers",
                "flat_groups": "Flat groups",
                "format": "Well formed",
                "unreadable": "Unreadable",
                "truncated": "Cut off",
            },
            {"flat_groups": "groups"},
        ),
    ]


def _share_cards(
    found: Mapping[str, JSON], labels: Mapping[str, str], units: Mapping[str, str]
) -> list[Card]:
    made = []
    for name, label in labels.items():
        if name not in found:
            continue
        share = found[name]
        made.append(
            Card(
                label=label,
                value=f"{share['value']:.0%}",
                note=f"{share['low']:.0%} to {share['high']:.0%} of {share['n']} "
                f"{units.get(name, 'answers')}",
                meter=plots.meter(share_range(share)),
            )
        )
    return made


def _sft_cards(run: Mapping[str, JSON]) -> list[Card]:
    metrics = run["metrics"]
    loss = metrics["loss/per_token"]
    return [
        Card(
            label="Loss before training",
            value="none" if loss is None else f"{loss:.2f}",
            note="nats per target token",
        ),
        Card(
            label="Trained tokens",
            value=f"{metrics['tokens/target']:,.0f}",
            note=f"in {_count(run['data']['kept'], 'target')}",
        ),
        Card(
            label="Masked tokens",
            value=f"{metrics['tokens/prompt']:,.0f}",
            note=f"{metrics['tokens/image']:,.0f} of them image tokens",
        ),
        *_share_cards(
            run["estimates"], {"accuracy": "Right before training"}, {"accuracy": "greedy answers"}
        ),
        Card(
            label="Answer length",
            value=f"{metrics['completions/mean_length']:.0f}",
            note="tokens on average, greedy",
        ),
    ]


def _dpo_cards(run: Mapping[str, JSON]) -> list[Card]:
    metrics = run["metrics"]
    units = dict.fromkeys(run["estimates"], "pairs")

    def number(name: str) -> str:
        """Write a metric in nats with its sign; "none" where it could not be measured."""
        return "none" if metrics[name] is None else plots.signed(metrics[name])

    return [
        Card(
            label="Margin per token",
            value=number("margin/mean_per_token"),
            note="chosen minus rejected, nats",
        ),
        Card(label="Margin per answer", value=number("margin/mean"), note="whole answers, nats"),
        *_share_cards(
            run["estimates"],
            {
                "chosen_preferred_per_token": "Chosen preferred per token",
                "chosen_preferred": "Chosen preferred as a whole",
                "chosen_longer": "Chosen is longer",
            },
            units,
        ),
    ]


def _source(source: Mapping[str, JSON]) -> str:
    """Name a source shortly: files without their folders."""
    name = source["name"]
    return f"{source['kept']} of {PurePath(name).name if '.' in name else name}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
