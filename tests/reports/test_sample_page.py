import html

from vlmtune.reports.sample_page import write_page
from vlmtune.reports.thumbnails import Thumbnail


def sample(text: str, *, flat: bool = False) -> dict:
    answer = {
        "text": text,
        "finish": "stop",
        "tokens": 7,
        "reward": 0.9,
        "parts": {"accuracy": 1.0},
        "reading": {"value": "2", "how": "tagged"},
        "verdict": "correct",
        "why": "read '2' from '2', expected '2'",
        "advantage": 1.25,
    }
    return {
        "step": 50,
        "example_id": "scenes/train/000017",
        "kind": "count",
        "prompt": "How many cubes?",
        "answer": "2",
        "images": ["scenes/train/000017"],
        "reward_mean": 0.9,
        "reward_std": 0.1,
        "flat": flat,
        "completions": [answer],
    }


def page(path, *samples) -> str:
    picture = Thumbnail(uri="data:image/png;base64,AAAA", width=8, height=8, original=(8, 8))
    write_page(
        path,
        samples,
        pictures={"scenes/train/000017": picture},
        title="GRPO, after 50 updates",
        sentence="Mean reward 0.900 over 1 prompts.",
    )
    return path.read_text(encoding="utf-8")


def test_a_page_shows_question_picture_answer_and_what_it_earned(tmp_path) -> None:
    text = page(tmp_path / "page.html", sample("<think>a cube</think><answer>2</answer>"))
    for shown in ("GRPO, after 50 updates", "How many cubes?", "data:image/png;base64,AAAA",
                  "0.90", "+1.25", "accuracy 1", "expected"):  # fmt: skip
        assert shown in text


def test_a_models_words_stay_words_and_nothing_is_loaded_or_run(tmp_path) -> None:
    text = page(tmp_path / "page.html", sample("<script>alert(1)</script><img src=x>"))
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "default-src 'none'" in html.unescape(text)


def test_flat_groups_are_marked(tmp_path) -> None:
    assert 'class="tag flat"' in page(tmp_path / "page.html", sample("2", flat=True))
    assert 'class="tag flat"' not in page(tmp_path / "other.html", sample("2"))


def test_a_page_is_replaced_as_a_whole_and_survives_half_a_character(tmp_path) -> None:
    page(tmp_path / "page.html", sample("a purple answer"))
    assert "purple" not in page(tmp_path / "page.html", sample("second \ud800"))
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
