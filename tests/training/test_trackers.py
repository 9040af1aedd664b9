"""What trackers write while the stages train: their own files, read with their own readers."""

import importlib.util
import json
import sqlite3

import pytest

if importlib.util.find_spec("trl") is None:
    pytest.skip("TRL needs Python 3.11", allow_module_level=True)

SHORT = {
    "data.max_samples": 5,
    "data.eval_fraction": 0.0,
    "training.max_steps": 2,
    "training.batch_size": 2,
    "model.lora.rank": 2,
    "tracking.log_steps": 1,
    "tracking.project": "trial",
}
GROUPS = {"grpo.num_generations": 2, "grpo.max_completion_length": 4}
WATCHED = {"sft": "loss", "dpo": "rewards/margins", "grpo": "reward/mean"}
"""Stage -> a number that it is watched by."""


def missing(name):
    return pytest.mark.skipif(
        importlib.util.find_spec(name) is None,
        reason=f"{name} comes with 'vlmtune[tracking]', which the tests' environment leaves out: "
        "trackio wants an older Pillow, and TRL imports wandb wherever it finds it",
    )


@pytest.fixture(params=["pytorch", "mlx"])
def train(request, forked_runs, tmp_path):
    """Train a few updates in `tmp_path`/run and hand out what metrics.jsonl says."""

    def trained(stage, *words, **environment):
        settings = SHORT | (GROUPS if stage == "grpo" else {})
        if request.param == "pytorch":
            settings = {**settings, "hardware.device": "cpu"}
        words = [
            *(f"--set={key}={json.dumps(value)}" for key, value in settings.items()),
            *words,
            f"--backend={request.param}",
            f"--output_dir={tmp_path / 'run'}",
        ]
        run = forked_runs.start(stage, words, folder=str(tmp_path), **environment)
        assert run.wait() == 0, forked_runs.said()
        lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    return trained


def logged(lines, name):
    return [(line["step"], line[name]) for line in lines if name in line]


@pytest.mark.parametrize("stage", list(WATCHED))
def test_tensorboard_has_the_numbers_of_every_stage(train, tmp_path, stage):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    lines = train(stage, "--set=logging.report_to=[tensorboard]")
    events = EventAccumulator(str(tmp_path / "run" / "logs"))
    events.Reload()
    told = events.Scalars(f"train/{WATCHED[stage]}")
    expected = logged(lines, WATCHED[stage])
    assert len(expected) == 2
    assert [event.step for event in told] == [step for step, _ in expected]
    # TensorBoard keeps float32.
    assert [event.value for event in told] == pytest.approx([v for _, v in expected], rel=1e-6)


@missing("wandb")
@pytest.mark.parametrize("stage", list(WATCHED))
def test_wandb_keeps_an_offline_run(train, tmp_path, stage):
    lines = train(stage, "--set=tracking.wandb=true", "--set=tracking.wandb_mode=offline")
    (written,) = tmp_path.glob("**/wandb/offline-run-*/run-*.wandb")
    # It has no public reader; its records hold names and values as text.
    found = written.read_bytes()
    assert f"train/{WATCHED[stage]}".encode() in found
    values = [value for _, value in logged(lines, WATCHED[stage])]
    assert len(values) == 2
    assert all(json.dumps(value).encode() in found for value in values)


@missing("trackio")
@pytest.mark.parametrize("stage", list(WATCHED))
def test_trackio_fills_its_database(forked_runs, train, stage, tmp_path):
    project = tmp_path.name.replace("_", "-")
    lines = train(stage, "--set=tracking.trackio=true", f"--set=tracking.project={project}")
    with sqlite3.connect(forked_runs.folder / "trackio" / f"{project}.db") as database:
        rows = database.execute("select metrics from metrics order by step").fetchall()
    name = f"train/{WATCHED[stage]}"
    found = [metrics[name] for (text,) in rows if name in (metrics := json.loads(text))]
    assert found == pytest.approx([value for _, value in logged(lines, WATCHED[stage])])


def test_no_wandb_wins_over_the_file(train, tmp_path):
    """Where wandb is not installed, the file alone would be refused."""
    path = tmp_path / "run.yaml"
    path.write_text("stage: sft\ntracking: {wandb: true}\ndata: {datasets: [scenes]}\n")
    train("sft", f"--config={path}", "--no_wandb")
    assert not (tmp_path / "wandb").exists()
