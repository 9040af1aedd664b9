"""Processes that a training starts: how many, what they know, and how all of them end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError
from vlmtune.training import launch

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def config(**hardware) -> RunConfig:
    return RunConfig.model_validate({"stage": "sft", "hardware": hardware})


def written(folder: Path, text: str) -> list[str]:
    path = folder / "worker.py"
    path.write_text(text)
    return [sys.executable, "-S", str(path)]


@pytest.mark.parametrize(
    ("hardware", "environment", "count"),
    [
        ({}, {}, 0),
        ({"processes": 4}, {}, 4),
        ({"deepspeed": "zero2"}, {}, 1),
        ({"processes": 4}, {"RANK": "0", "WORLD_SIZE": "4"}, 0),
        ({"processes": 4, "nodes": 2}, {}, 0),
    ],
)
def test_as_many_processes_are_started_as_nobody_else_has(hardware, environment, count):
    assert launch.wanted(config(**hardware), environment) == count


def test_what_torchrun_started_is_counted_where_the_config_says_nothing():
    found = launch.place({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"})
    assert found == launch.Place(rank=5, processes=4, nodes=2)
    counted = launch.placed(config(), found).hardware
    assert (counted.processes, counted.nodes) == (4, 2)
    assert launch.placed(config(processes=2), found).hardware.processes == 2
    assert launch.place({"WORLD_SIZE": "8"}) is None


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"RANK": "a", "WORLD_SIZE": "2"}, "are no numbers"),
        ({"RANK": "0", "WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "2"}, "do not divide into machines"),
    ],
)
def test_variables_that_make_no_sense_are_refused(variables, why):
    with pytest.raises(ConfigError, match=why):
        launch.place(variables)


def test_every_process_knows_its_place(tmp_path):
    worker = written(
        tmp_path,
        "import os, pathlib\n"
        "names = ('LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'CUDA_VISIBLE_DEVICES')\n"
        f"place = pathlib.Path({str(tmp_path)!r}) / os.environ['RANK']\n"
        "place.write_text(' '.join(os.environ[name] for name in names))\n",
    )
    assert launch.start(worker, 2, gpus=[3, 5]) == 0
    told = [(tmp_path / rank).read_text() for rank in "01"]
    assert told == ["0 2 127.0.0.1 3,5", "1 2 127.0.0.1 3,5"]


def test_when_one_fails_the_others_are_ended_and_its_code_is_the_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "GRACE", 0.3)
    worker = written(
        tmp_path,
        "import os, sys, time\nsys.exit(2) if os.environ['RANK'] == '1' else time.sleep(60)\n",
    )
    began = time.monotonic()
    assert launch.start(worker, 2, gpus=None) == 2
    assert time.monotonic() - began < 30


def test_a_signal_reaches_every_process_once(tmp_path):
    worker = written(
        tmp_path,
        "import os, pathlib, signal, sys, time\n"
        f"place = pathlib.Path({str(tmp_path)!r}) / os.environ['RANK']\n"
        "heard = []\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))\n"
        "place.write_text('listening')\n"
        "end = time.monotonic() + 60\n"
        "while not heard and time.monotonic() < end: time.sleep(0.05)\n"
        "time.sleep(0.3)\n"
        "place.write_text(str(len(heard)))\n"
        "sys.exit(1)\n",
    )
    source = str(Path(launch.__file__).parents[2])
    program = (
        f"import sys; sys.path.insert(0, {source!r}); from vlmtune.training import launch; "
        f"sys.exit(launch.start({worker!r}, 2, gpus=None))"
    )
    started = subprocess.Popen([sys.executable, "-c", program])
    places = [tmp_path / rank for rank in "01"]
    end = time.monotonic() + 60
    while time.monotonic() < end and not all(
        place.exists() and place.read_text() == "listening" for place in places
    ):
        time.sleep(0.05)
    os.kill(started.pid, signal.SIGTERM)
    assert started.wait(60) == 1
    assert [place.read_text() for place in places] == ["1", "1"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["hardware.processes=2", "hardware.fsdp=full_shard", "model.quantization=4bit"],
         "cannot divide"),
        (["hardware.processes=3", "training.global_batch_size=4"], "use a multiple of 3"),
        (["hardware.nodes=2", "hardware.processes=8"], "torchrun --nnodes 2 --nproc_per_node 8"),
    ],
)  # fmt: skip
def test_what_cannot_train_is_said_once_before_anything_starts(words, why):
    sets = [word for one in words for word in ("--set", one)]
    found = subprocess.run(
        [sys.executable, str(SCRIPTS / "train_sft.py"), "--backend", "pytorch", *sets],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert found.stderr.startswith("ConfigError: ")
    assert found.stderr.count("\n") == 1
    assert why in found.stderr
