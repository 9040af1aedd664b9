"""Several rewards as one: the sum, what does not apply, and the names in a config."""

import pytest

from vlmtune.config import RewardConfig
from vlmtune.errors import ConfigError, RewardError
from vlmtune.rewards import WeightedReward, build_reward, load_reward
from vlmtune.rewards.columns import columns_of
from vlmtune.rewards.weighted import told
from vlmtune.types import Example, Kind, Verdict

WHY = ("two cats sleep on the chair", "dogs run across a green field")
ROWS = (
    Example(id="a", question="How many cats?", kind=Kind.COUNT,
            answer=f"<answer>two</answer><explain>{WHY[0]}</explain>"),
    Example(id="b", question="Which colour?",
            answer=f"<answer>light green</answer><explain>{WHY[1]}</explain>"),
    Example(id="c", question="Which colour?", answer="red", facts={"bonus": 1}),
)  # fmt: skip
NAMES = ["accuracy", "format", "explanation"]


def build(examples=ROWS, **settings):
    if "explanation" in settings.get("functions", []):
        settings["explanation"] = {"alpha": 1.0}
    return build_reward(RewardConfig.model_validate(settings), examples=examples)


def said(answer: str, why: str) -> str:
    return f"<think>I look.</think><answer>{answer}</answer><explain>{why}</explain>"


@pytest.fixture
def own_file(tmp_path) -> str:
    file = tmp_path / "own.py"
    file.write_text(
        "def bonus(completions, bonus, **kwargs):\n"
        "    return [None if b is None else float(b) for b in bonus]\n"
        "def never(completions): return [None] * len(completions)\n"
        "def brevity(completions): return [1 / (1 + len(c)) for c in completions]\n"
    )
    return str(file)


def test_form_gets_its_share_and_the_others_equal_ones() -> None:
    reward = build(functions=NAMES)
    assert told(reward) == "0.45 accuracy + 0.1 format + 0.45 explanation"
    score = reward.score(ROWS[0], said("2", WHY[0]))
    assert score.value == pytest.approx(1.0)
    assert score.parts == pytest.approx(
        {"accuracy": 1, "partial": 0, "format": 1, "explanation": 1, "cider": 1}
    )
    assert score.verdict is Verdict.CORRECT
    assert score.why.startswith(
        "accuracy 1: read '2' from '2', expected '2'; format 1: well formed"
    )
    half = reward.score(ROWS[1], said("green", "no idea"))
    assert half.value == pytest.approx(0.45 * 0.5 + 0.1)
    assert half.parts["accuracy"] == 0.0
    assert reward.score(ROWS[0], "").value == 0.0


def test_given_weights_are_the_weights_of_the_sum() -> None:
    reward = build(functions=NAMES, weights=[2.0, 0.5, 1.0])
    assert reward.score(ROWS[0], said("2", WHY[0])).value == pytest.approx(3.5)
    assert reward.largest == 3.5


def test_on_the_seeds_scale_each_reward_counts_once() -> None:
    reward = build(functions=NAMES, accuracy={"scale": "seed"})
    assert told(reward) == "1 accuracy + 1 format + 1 explanation"
    assert reward.score(ROWS[0], said("2", WHY[0])).value == pytest.approx(3 + 1 + 1)
    assert reward.score(ROWS[1], said("green", "x")).value == pytest.approx(1.5 + 1)


def test_what_does_not_apply_is_left_out_of_the_sum_and_nothing_is_scaled_up() -> None:
    reward = build(functions=NAMES)
    score = reward.score(ROWS[2], "<think>I look.</think><answer>red</answer>")
    assert score.value == pytest.approx(0.45 + 0.1)
    assert "explanation: not applicable" in score.why
    assert "explanation" not in score.parts


def test_a_completion_to_which_nothing_applies_is_none_for_trl_and_0_here(own_file) -> None:
    reward = build(file=own_file, functions=["never", "bonus"])
    assert reward.score(ROWS[0], "x").value == 0.0
    assert reward.score(ROWS[2], "x").value == 0.5
    columns = columns_of(ROWS)
    assert reward(prompts=["?"] * 3, completions=["x"] * 3, **columns) == [None, None, 0.5]


def test_trl_and_the_rehearsal_are_paid_the_same(own_file) -> None:
    reward = build(file=own_file, functions=[*NAMES, "brevity"])
    texts = [said("2", WHY[0]), said("green", "dogs run across"), "red"]
    ours = [score.value for score in reward.score_batch(ROWS, texts)]
    messages = [[{"role": "assistant", "content": text}] for text in texts]
    theirs = reward(
        prompts=["?"] * 3, completions=messages, completion_ids=[[1]] * 3, trainer_state=object(),
        log_extra=print, **columns_of(ROWS),
    )  # fmt: skip
    assert theirs == ours
    turned = reward.score_batch(ROWS[::-1], texts[::-1])
    assert [score.value for score in turned] == ours[::-1]


def test_a_users_reward_stands_beside_ours_by_name(own_file) -> None:
    reward = build(file=own_file, functions=["combined", "brevity"], weights=[1.0, 0.5])
    score = reward.score(ROWS[0], "2")
    assert score.value == pytest.approx(0.9 + 0.5 / 2)
    assert score.parts["brevity"] == 0.5
    everything = build(file=own_file)
    assert [part.name for part in everything.parts] == ["bonus", "never", "brevity"]


def test_columns_hold_what_rewards_are_promised(tmp_path) -> None:
    columns = columns_of(ROWS)
    assert columns["bonus"] == [None, None, 1]
    assert columns["solution"] == columns["answer"] == [row.answer for row in ROWS]
    assert columns["image_path"] == [None, None, None]
    own = Example(id="d", question="?", answer="x", facts={"solution": "kept as it is"})
    assert columns_of([own])["solution"] == ["kept as it is"]
    assert columns_of([own])["answer"] == ["x"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"functions": ["acuracy"]}, "reward 'acuracy' not found; did you mean 'accuracy'"),
        ({"functions": ["accuracy", "accuracy"]}, "name at least one, and none twice"),
        ({"functions": NAMES, "weights": [1.0]}, "1 numbers for 3 rewards"),
        ({"functions": NAMES, "weights": [1.0, 1.0, 1.0]}, "gives format 0.33 of the largest"),
        ({"functions": ["accuracy"], "weights": [0.0]}, "add up to 0"),
        ({"functions": ["accuracy"], "type": "spatial"}, "reward.type is 'spatial' beside"),
        ({"type": "accuracy", "weights": [1.0]}, "reward.type names one reward"),
        ({"functions": ["format"], "accuracy": {"scale": "seed"}}, "reward.accuracy is set, and"),
        ({"file": "absent.py"}, "reward 'absent.py' not found: no such file"),
    ],
)
def test_settings_that_contradict_are_told(settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**settings)


def test_a_file_that_is_not_used_and_a_name_in_neither_place_are_told(own_file) -> None:
    with pytest.raises(ConfigError, match=r"names nothing of reward.file"):
        build(file=own_file, functions=["accuracy"])
    with pytest.raises(ConfigError, match=r"'brevety' not found.*own.py has bonus, never, brevity"):
        build(file=own_file, functions=["brevety", "never"])


def test_a_reward_of_a_users_own_class_is_held_to_numbers_too(tmp_path) -> None:
    file = tmp_path / "strict.py"
    file.write_text(
        "from vlmtune.types import How, Reading, Score\n"
        "class Strict:\n"
        "    name = 'strict'\n"
        "    def score(self, example, completion):\n"
        "        return Score(value=float('nan'), parts={}, why='',\n"
        "                     reading=Reading(value=None, how=How.UNREADABLE))\n"
        "def build(options):\n    return Strict()\n"
    )
    reward = build(functions=["accuracy", str(file)])
    assert isinstance(reward, WeightedReward)
    with pytest.raises(RewardError, match=r"reward 'strict' gave nan for row 0 \(a\)"):
        reward.score(ROWS[0], "2")


def test_any_reward_is_loaded_by_its_name(own_file) -> None:
    for name in ("accuracy", "combined", "counting", "explanation", "format", "spatial"):
        assert load_reward(name).name == name
    assert load_reward(f"{own_file}:brevity").name == "brevity"
    assert load_reward(own_file).name == "bonus+never+brevity"
    with pytest.raises(ConfigError, match="not found"):
        load_reward(f"{own_file}:absent")
