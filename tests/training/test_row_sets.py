"""A rehearsal reads its rows as a trainer does: mixed, split, compared, recorded."""

import json

import PIL.Image
import pytest

from vlmtune.errors import DataError
from vlmtune.training import rehearsal

STAGES = ["sft", "dpo", "grpo"]


@pytest.fixture
def pictured(in_folder, write):
    """Write questions over pictures of their own, gradients of different slopes."""

    def written(name: str, count: int, *, first: int = 0) -> str:
        rows = []
        for number in range(first, first + count):
            picture = PIL.Image.linear_gradient("L").rotate(13 * number).convert("RGB")
            picture.save(in_folder / f"{number}.png")
            rows.append(
                {"id": f"row/{number}", "image": f"{number}.png", "kind": "count",
                 "prompt": f"How many cups are on table {number}?", "answer": str(number % 4),
                 "rejected": "nothing at all"}
            )  # fmt: skip
        write(in_folder / name, rows)
        return name

    return written


def rehearse(make_config, console, in_folder, stage: str = "grpo", **data):
    outcome = rehearsal.run(make_config(stage, data={"max_samples": None, **data}), console=console)
    run = json.loads((in_folder / "out" / "run.json").read_text())
    lines = (in_folder / "out" / "samples.jsonl").read_text().splitlines()
    checks = {check.name: check for check in outcome.checks}
    return run, [json.loads(line) for line in lines], checks, outcome.report.read_text()


@pytest.mark.parametrize("stage", STAGES)
def test_a_fifth_is_set_aside_and_all_rows_are_rehearsed(
    make_config, console, in_folder, pictured, stage
) -> None:
    name = pictured("ten.jsonl", 10)
    run, samples, checks, _ = rehearse(
        make_config, console, in_folder, stage, datasets=[{"name": name}]
    )
    assert [sample["example_id"] for sample in samples] == [f"row/{n}" for n in range(10)]
    held = [sample["example_id"] for sample in samples if sample["set"] == "evaluation"]
    assert (len(held), run["data"]["train"]["rows"], run["data"]["evaluation"]["rows"]) == (2, 8, 2)
    assert run["data"]["evaluation"]["named"] is False
    prints = {run["data"][part]["fingerprint"] for part in ("train", "evaluation")}
    assert len({run["data"]["fingerprint"], *prints}) == 3
    assert "2 of 10 rows set aside (seed 42), 8 to train on" in checks["evaluation_rows"].detail


def test_rows_that_leave_none_aside_are_rehearsed_and_said(make_config, console, in_folder) -> None:
    # The four rows of the usual file ask about one picture.
    run, samples, checks, page = rehearse(
        make_config, console, in_folder, datasets=[{"name": "rows.jsonl"}]
    )
    assert (len(samples), run["data"]["evaluation"]) == (4, None)
    assert {sample["set"] for sample in samples} == {"train"}
    assert "4 rows in 1 groups that share pictures" in checks["evaluation_rows"].detail
    assert "not looked for: there is no evaluation set" in page
    with pytest.raises(DataError, match="no evaluation set can be set aside"):
        rehearse(
            make_config, console, in_folder, datasets=[{"name": "rows.jsonl"}], eval_fraction=0.5
        )


def test_a_leak_stops_the_run_before_the_model_is_loaded(
    make_config, console, in_folder, pictured
) -> None:
    train, test = pictured("train.jsonl", 4), pictured("test.jsonl", 3, first=3)
    with pytest.raises(DataError, match="1 training rows show what evaluation asks about"):
        rehearse(
            make_config, console, in_folder,
            datasets=[{"name": train}], eval_datasets=[{"name": test}],
        )  # fmt: skip
    assert "loading" not in console.file.getvalue()
    assert not (in_folder / "out").exists()


@pytest.mark.parametrize("on_leak", ["drop", "allow"])
def test_what_becomes_of_a_leak_is_counted_and_shown(
    make_config, console, in_folder, pictured, on_leak
) -> None:
    train, test = pictured("train.jsonl", 4), pictured("test.jsonl", 3, first=3)
    run, samples, checks, page = rehearse(
        make_config, console, in_folder,
        datasets=[{"name": train}], eval_datasets=[{"name": test}], on_leak=on_leak,
    )  # fmt: skip
    rehearsed, said = {
        "drop": (["row/0", "row/1", "row/2"], "the 1 were left out"),
        "allow": (["row/0", "row/1", "row/2", "row/3"], "data.on_leak is allow"),
    }[on_leak]
    assert [sample["example_id"] for sample in samples] == rehearsed
    assert checks["leaks"].status.value == "warn"
    assert said in checks["leaks"].detail
    leaks = run["data"]["leaks"]
    assert (leaks["rows"], leaks["dropped"]) == (1, int(on_leak == "drop"))
    assert leaks["first"][0] == {
        "train": "row/3", "evaluation": "row/3", "why": "the same picture",
    }  # fmt: skip
    assert run["data"]["evaluation"]["read"]["sources"][0]["kept"] == 3
    assert "test.jsonl" in page
    assert "such as row/3 and row/3" in page


def test_sources_are_mixed_by_weight_and_their_skips_shown(
    make_config, console, in_folder, pictured
) -> None:
    heavy, light = pictured("heavy.jsonl", 9), pictured("light.jsonl", 9, first=9)
    with (in_folder / light).open("r+") as lines:
        kept = lines.read()
        lines.seek(0)
        lines.write('{"prompt": "Where is it?", "image": "gone.png", "answer": "left"}\n' + kept)
    run, samples, checks, page = rehearse(
        make_config, console, in_folder,
        datasets=[{"name": heavy, "weight": 2.0}, {"name": light}], max_samples=9,
    )  # fmt: skip
    sources = run["data"]["sources"]
    assert [(source["kept"], source["skipped"]) for source in sources] == [(6, 0), (3, 1)]
    assert sources[1]["reasons"] == {"image not found": 1}
    assert checks["rows_skipped"].status.value == "warn"
    assert "1 × image not found" in page
    assert len(samples) == 9


def test_a_users_function_reaches_the_prompt(make_config, console, in_folder, pictured) -> None:
    name = pictured("ten.jsonl", 2)
    (in_folder / "change.py").write_text(
        "def shout(example):\n    example['prompt'] = example['prompt'].upper()\n"
        "    return example\n"
    )
    _, samples, _, _ = rehearse(
        make_config, console, in_folder, datasets=[{"name": name}], preprocessing="change.py"
    )
    assert samples[0]["prompt"].startswith("HOW MANY CUPS ARE ON TABLE 0?")
