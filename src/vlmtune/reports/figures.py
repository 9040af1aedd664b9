"""Chooses the plots of a page, by stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vlmtune.reports import plots
from vlmtune.types import JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One plot.

    Attributes:
        title: What it shows.
        caption: How to read it.
        drawing: SVG.
        tables: Below the drawing; the first row of each is its head.
    """

    title: str
    caption: str
    drawing: Markup = plots.NOTHING
    tables: tuple[tuple[tuple[str, ...], ...], ...] = ()


def figures(run: Mapping[str, JSON], samples: Sequence[Mapping[str, JSON]]) -> list[Figure]:
    """Draw the plots of the stage."""
    chosen = {"grpo": _grpo_figures, "sft": _sft_figures, "dpo": _dpo_figures}
    return chosen[run["stage"]](run, samples)


def share_range(share: Mapping[str, JSON]) -> plots.Range:
    """Read a share with its interval out of a record."""
    return plots.Range(value=share["value"], low=share["low"], high=share["high"])


def _grpo_figures(run: Mapping[str, JSON], samples: Sequence[Mapping[str, JSON]]) -> list[Figure]:
    answers = [answer for sample in samples for answer in sample["completions"]]
    rewards = [answer["reward"] for answer in answers if answer["reward"] is not None]
    limit = run["config"]["grpo"]["max_completion_length"]
    parts = [
        (name.removeprefix("reward/parts/"), value)
        for name, value in run["metrics"].items()
        if name.startswith("reward/parts/") and value is not None
    ]
    return [
        Figure(
            title="Rewards",
            caption=f"How often {len(answers)} answers earned what.",
            drawing=plots.histogram(
                rewards or [0.0], title="Histogram of rewards", unit="reward", bins=20,
                low=0.0, high=1.0, shaded=True,
            ),
        ),
        Figure(
            title="Parts of the reward",
            caption="Means over all answers that have the part.",
            drawing=plots.bars(parts, title="Mean of each part of the reward"),
        ),
        _kind_figure(run),
        _forecast_figure(run),
        _temperature_figure(run),
        Figure(
            title="Answer lengths",
            caption=f"In tokens; answers are cut at {limit}.",
            drawing=plots.histogram(
                [answer["tokens"] for answer in answers], title="Histogram of answer lengths",
                unit="tokens", whole=True,
            ),
        ),
    ]  # fmt: skip


def _kind_figure(run: Mapping[str, JSON]) -> Figure:
    rows = [
        plots.Row(
            label=kind["kind"].replace("_", "/"),
            note=f"{kind['prompts']} × {kind['completions'] // kind['prompts']}",
            range=share_range(kind["accuracy"]),
        )
        for kind in run["details"]["kinds"]
        if kind["accuracy"] is not None
    ]
    return Figure(
        title="Right answers by kind",
        caption="With 95% intervals, wider where answers to one prompt agree.",
        drawing=plots.intervals(rows, title="Share of right answers by kind of question"),
    )


def _forecast_figure(run: Mapping[str, JSON]) -> Figure:
    lines = [
        plots.Curve(
            label=f"T {record['temperature']:g}",
            main=record["chosen"],
            points=tuple(
                (point["generations"],
                 plots.Range(value=point["share"], low=point["low"], high=point["high"]))
                for point in record["forecast"]
            ),
            measured=(record["generations"], share_range(record["flat"])),
        )
        for record in run["details"]["temperatures"]
    ]  # fmt: skip
    return Figure(
        title="Flat groups",
        caption="Share of groups that teach nothing. Dots were measured, lines are forecasts.",
        drawing=plots.curves(
            lines, title="Share of flat groups over group size", unit="completions per prompt (G)"
        ),
    )


def _temperature_figure(run: Mapping[str, JSON]) -> Figure:
    head = ("Measured", "Prompts", "Reward", "Unread", "Flat")
    rows = [
        (
            f"T {record['temperature']:g}{' · run' if record['chosen'] else ''}",
            str(record["prompts"]),
            "none" if record["reward_mean"] is None else f"{record['reward_mean']:.2f}",
            f"{record['unreadable']:.0%}",
            f"{record['flat']['value']:.0%}",
        )
        for record in run["details"]["temperatures"]
    ]
    sizes = [point["generations"] for point in run["details"]["temperatures"][0]["forecast"]]
    forecasts = [
        (f"T {record['temperature']:g}", *(f"{point['share']:.0%}" for point in record["forecast"]))
        for record in run["details"]["temperatures"]
    ]
    return Figure(
        title="Temperatures",
        caption=f"Measured with G = {run['details']['generations']}; below, flat groups forecast "
        "for other G.",
        tables=((head, *rows), (("Forecast", *(f"G {size}" for size in sizes)), *forecasts)),
    )


def _sft_figures(run: Mapping[str, JSON], samples: Sequence[Mapping[str, JSON]]) -> list[Figure]:
    metrics = run["metrics"]
    losses = [s["target"]["loss"] for s in samples if s["target"]["loss"] is not None]
    text = metrics["tokens/prompt"] - metrics["tokens/image"]
    return [
        Figure(
            title="Where the tokens are",
            caption="Only the target has a loss; the rest is masked.",
            drawing=plots.stacked(
                [
                    ("image, masked", metrics["tokens/image"], "masked"),
                    ("prompt text, masked", text, "muted"),
                    ("target, trained", metrics["tokens/target"], "positive"),
                ],
                title="Tokens of images, prompts and targets",
            ),
        ),
        Figure(
            title="Loss per row",
            caption="Mean negative log-probability of a target token before training.",
            drawing=plots.histogram(
                losses or [0.0], title="Histogram of losses", unit="nats per token", low=0.0
            ),
        ),
        Figure(
            title="Target lengths",
            caption="In tokens, end token included.",
            drawing=plots.histogram(
                [sample["target"]["tokens"] for sample in samples],
                title="Histogram of target lengths", unit="tokens", whole=True,
            ),
        ),
    ]  # fmt: skip


def _dpo_figures(run: Mapping[str, JSON], samples: Sequence[Mapping[str, JSON]]) -> list[Figure]:
    margins = [
        (sample["example_id"], sample["pair"]["margin_per_token"])
        for sample in samples
        if sample["pair"]["margin_per_token"] is not None
    ]
    chosen = [sample["pair"]["chosen"]["tokens"] for sample in samples]
    rejected = [sample["pair"]["rejected"]["tokens"] for sample in samples]
    highest = float(max([*chosen, *rejected]))
    made = [
        Figure(
            title="Margin per token",
            caption="Right of the middle the model prefers the chosen answer already."
            + (" The 24 clearest pairs." if len(margins) > 24 else ""),
            drawing=plots.diverging(
                sorted(_clearest(margins, 24), key=lambda row: -row[1]),
                title="Margin per token of every pair",
            ),
        )
    ]
    for name, lengths in (("Chosen", chosen), ("Rejected", rejected)):
        made.append(
            Figure(
                title=f"{name} lengths",
                caption="In tokens, on the same axis for both sides.",
                drawing=plots.histogram(
                    lengths, title=f"Histogram of {name.lower()} lengths", unit="tokens",
                    high=highest, whole=True,
                ),
            )
        )  # fmt: skip
    return made


def _clearest(rows: Sequence[tuple[str, float]], most: int) -> list[tuple[str, float]]:
    return sorted(rows, key=lambda row: -abs(row[1]))[:most]
