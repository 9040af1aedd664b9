"""What all commands do alike: words in, an exit code and at most one line on stderr out."""

import argparse

import pytest

from vlmtune import cli_messages
from vlmtune.cli_messages import read_flags, run_script, split_flags
from vlmtune.errors import ConfigError, RunFailed


def ran(words, work) -> int:
    return run_script(words, help_text=lambda: "run me", work=work, interrupted="half is written")


def failing(error: BaseException):
    def work(words):
        raise error

    return work


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    built = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    built.add_argument("--max_samples", type=int)
    built.add_argument("--set", action="append", default=[])
    return built


def test_the_words_reach_the_work_as_typed_and_its_code_comes_back():
    seen = []
    assert ran(["--max-samples", "5"], lambda words: seen.extend(words) or 1) == 1
    assert seen == ["--max-samples", "5"]


def test_without_words_those_of_the_process_are_read(monkeypatch):
    monkeypatch.setattr("sys.argv", ["script.py", "--debug"])
    assert ran(None, len) == 1


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_printed_and_nothing_is_done(flag, capsys):
    assert ran(["--debug", flag], failing(AssertionError("it worked"))) == 0
    assert capsys.readouterr().out == "run me\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("seed is\n -1"), 2, "ConfigError: seed is -1\n"),
        (RunFailed("the loss is nan"), 1, "RunFailed: the loss is nan\n"),
        (KeyboardInterrupt(), 130, "Interrupted: half is written\n"),
    ],
)
def test_what_ends_the_work_is_one_line_and_its_own_code(error, code, said, capsys):
    assert ran([], failing(error)) == code
    assert capsys.readouterr().err == said


def test_a_missing_base_library_is_told_and_any_other_is_a_bug(capsys):
    assert ran([], failing(ModuleNotFoundError(name="numpy"))) == 2
    assert "has no 'numpy'; run 'make setup'" in capsys.readouterr().err
    with pytest.raises(ModuleNotFoundError):
        ran([], failing(ModuleNotFoundError(name="vlmtune.nowhere")))


def test_flags_are_read_with_dashes_and_values_keep_theirs(parser):
    found = read_flags(parser, ["--max-samples=5", "--set", "model.name=3b-4bit"])
    assert (found.max_samples, found.set) == (5, ["model.name=3b-4bit"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--max_sample", "5"], "did you mean '--max_samples'"),
        (["--max_samples"], "expected one argument; --help lists all flags"),
        (["--max_samples", "many"], "--help lists all flags"),
        (["seed=1"], "'seed=1' stands alone"),
    ],
)
def test_a_word_that_means_nothing_is_refused(parser, words, told):
    with pytest.raises(ConfigError, match=told):
        read_flags(parser, words)


def test_words_without_a_flag_are_handed_back_in_order(parser):
    found, rest = split_flags(parser, ["seed=1", "--max_samples", "5", "--nope", "debug=true"])
    assert (found.max_samples, rest) == (5, ["seed=1", "--nope", "debug=true"])


def test_of_processes_that_fail_together_one_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli_messages.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, why in (("1", "the loss is nan on row 7"), ("0", "another process ended")):
        monkeypatch.setenv("RANK", rank)
        assert cli_messages.complain(RunFailed(why)) == 1
    assert capsys.readouterr().err == "RunFailed in process 1: the loss is nan on row 7\n"
