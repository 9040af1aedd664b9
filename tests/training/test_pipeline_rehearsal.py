"""--debug of a pipeline: every stage rehearsed in turn, without a model."""

from pathlib import Path

from vlmtune import cli

CHECKOUT = Path(__file__).parents[2]


def test_debug_rehearses_each_stage_in_turn(tmp_path, capsys):
    words = ["--config", str(CHECKOUT / "tests" / "fixtures" / "tiny_pipeline.yaml"), "--debug"]
    words += ["--backend", "scripted", "--output_dir", str(tmp_path / "out"), "--max_samples", "6"]
    words += ["--set", "rehearsal.temperatures=[]"]
    assert cli.main(None, checkout=CHECKOUT, argv=words) in (0, 1)
    said = capsys.readouterr().out
    places = [said.index(f"of 3: rehearse {stage}") for stage in ("sft", "dpo", "grpo")]
    assert places == sorted(places)
    assert "3 stages rehearsed" in said
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("report.html")}
    assert written == {f"out/rehearsals/{stage}/report.html" for stage in ("sft", "dpo", "grpo")}
