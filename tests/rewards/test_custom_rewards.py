"""A user's file of reward functions, in the spellings that other trainers taught."""

import numpy as np
import pytest

from vlmtune.errors import ConfigError, RewardError
from vlmtune.rewards import load_reward
from vlmtune.rewards.custom import MessageText, load_functions
from vlmtune.types import Example, How, Reading

ROW = Example(id="rows/1", question="How many?", answer="2", facts={"difficulty": "easy"})


@pytest.fixture
def write(tmp_path):
    def written(text: str) -> str:
        file = tmp_path / "my_rewards.py"
        file.write_text(text)
        return str(file)

    return written


def test_a_files_own_functions_that_take_completions_are_its_rewards(write) -> None:
    path = write(
        "from os.path import join\nfrom math import *\n"
        "def extract(text): return text\n"
        "def _hidden(completions): return []\n"
        "def brevity(completions, solution, **kwargs): return [1.0] * len(completions)\n"
        "def level(difficulty, completions): return [float(d == 'easy') for d in difficulty]\n"
    )
    assert list(load_functions(path)) == ["brevity", "level"]


def test_a_registry_names_and_orders_them(write) -> None:
    path = write(
        "def accuracy_reward(completions, solution, **kwargs): return [0.5]\n"
        "def other(completions): return [0.0]\n"
        "reward_funcs_registry = {'exact': accuracy_reward}\n"
    )
    assert list(load_functions(path)) == ["exact"]
    assert load_reward(f"{path}:exact").score(ROW, "x").value == 0.5


def test_a_function_gets_every_column_and_either_form_of_a_completion(write) -> None:
    path = write(
        "def texts(completions, solution, **kwargs):\n"
        "    assert {'prompts', 'completion_ids', 'image_path', 'id', 'answer'} <= set(kwargs)\n"
        "    assert kwargs['difficulty'] == ['easy'] and solution == ['2']\n"
        "    return [float(text.strip() == 'two' and len(text) == 3) for text in completions]\n"
        "def messages(completions, expected_answer):\n"
        "    return [float(c[0]['content'] == 'two' == c[-1]['content']) for c in completions]\n"
    )
    score = load_reward(path).score(ROW, "two")
    assert score.value == 1.0
    assert score.parts == {"texts": 1.0, "messages": 1.0}
    assert score.reading == Reading(value="two", how=How.PHRASE)


def test_a_completion_is_text_whose_items_are_messages() -> None:
    text = MessageText("left of")
    assert text == "left of"
    assert text[0] == {"role": "assistant", "content": "left of"}
    assert (text[1:3], text[1], text.upper(), text + "!") == ("ef", "e", "LEFT OF", "left of!")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("[float('nan')]", r"reward 'mine' gave nan for row 0 \(rows/1\) of the batch; a finite"),
        ("[float('inf')]", "gave inf for row 0"),
        ("['1.0']", "gave '1.0' for row 0"),
        ("[{}]", "gave {} for row 0"),
        ("[10 ** 400]", "gave 1000"),
        ("[]", "reward 'mine' returned 0 values for 1 completions"),
        ("[1.0, 1.0]", "returned 2 values for 1 completions"),
        ("1.0", "returned float; a list of 1 numbers is needed"),
        ("None", "returned NoneType"),
        ("'1'", "returned str"),
        ("(v for v in [1.0])", "returned generator"),
        ("[1 / 0]", r"reward 'mine' raised ZeroDivisionError: .* \(my_rewards.py line 2\)"),
        ("kwargs['absent']", r"raised KeyError: 'absent' \(my_rewards.py line 2\)"),
    ],
)
def test_what_no_trainer_can_use_names_the_function_and_the_row(write, returned, message) -> None:
    path = write(f"def mine(completions, **kwargs):\n    return {returned}\n")
    with pytest.raises(RewardError, match=message):
        load_reward(path).score(ROW, "two")


@pytest.mark.parametrize(
    "returned", ["[1]", "(1.0,)", "np.array([1.0])", "[np.float32(1)]", "[True]"]
)
def test_whatever_is_a_number_is_taken(write, returned) -> None:
    path = write(f"import numpy as np\ndef mine(completions):\n    return {returned}\n")
    value = load_reward(path)(prompts=["?"], completions=["x"], answer=["2"])
    assert value == [1.0]
    assert type(value[0]) is float
    assert np.isfinite(value[0])


def test_a_column_that_the_rows_lack_is_told_before_the_run(write) -> None:
    path = write("def mine(completions, boxes): return [1.0]\n")
    with pytest.raises(ConfigError, match=r"needs 'boxes', and the rows have .*difficulty"):
        load_reward(path).prepared([ROW])
    optional = write("def mine(completions, boxes=None): return [1.0]\n")
    assert load_reward(optional).prepared([ROW]).score(ROW, "x").value == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no reward function; write def my_reward"),
        ("import math\n", "has no reward function"),
        ("reward_funcs_registry = {'a': 3}\n", "reward 'a' in .* is int; a plain function"),
        ("async def mine(completions): return []\n", "not an async one"),
        ("reward_funcs_registry = []\n", "has no reward function"),
    ],
)
def test_a_file_without_reward_functions_says_what_to_write(write, text, message) -> None:
    with pytest.raises(ConfigError, match=message):
        load_functions(write(text))
