"""What a training leaves behind while it runs."""

import json
import os
import signal

import pytest

from vlmtune.errors import RunFailed
from vlmtune.training.journal import METRICS, RunJournal


@pytest.fixture
def seen():
    return []


@pytest.fixture
def journal(tmp_path, seen):
    return RunJournal(
        tmp_path,
        model_folder=tmp_path,
        resume_from=None,
        keep=3,
        advance=lambda done, total: seen.append((done, total)),
    )


def lines(journal):
    return [json.loads(line) for line in (journal.folder / METRICS).read_text().splitlines()]


def test_numbers_are_lines_with_their_step_and_the_last_ones_are_remembered(journal):
    journal.record({"loss": 2.0, "lr": 0.1}, step=1)
    journal.record({"loss": 1.5}, step=2)
    assert lines(journal) == [{"step": 1, "loss": 2.0, "lr": 0.1}, {"step": 2, "loss": 1.5}]
    assert journal.last == {"loss": 1.5, "lr": 0.1}


def test_progress_is_told_with_the_total(journal, seen):
    journal.begin(step=3, total=9)
    journal.advance(step=4)
    assert seen == [(3, 9), (4, 9)]


def test_going_on_forgets_lines_of_later_updates_and_one_that_was_cut(journal):
    for step in (1, 2, 3):
        journal.record({"loss": float(step)}, step=step)
    with (journal.folder / METRICS).open("a") as file:
        file.write('{"step": 2, "lo')
    journal.begin(step=2, total=9)
    assert [line["step"] for line in lines(journal)] == [1, 2]


def test_a_gradient_that_is_not_finite_ends_the_run_and_is_written_as_nothing(journal):
    with pytest.raises(RunFailed, match="gradient is not finite at update 7"):
        journal.record({"loss": 1.0, "grad_norm": float("nan")}, step=7)
    assert lines(journal) == [{"step": 7, "loss": 1.0, "grad_norm": None}]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_to_stop_and_a_second_one_stops_at_once(journal, number):
    before = signal.getsignal(number)
    with journal.listening():
        assert not journal.stopping
        os.kill(os.getpid(), number)
        assert journal.stopping
        assert journal.asked == number.name
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
