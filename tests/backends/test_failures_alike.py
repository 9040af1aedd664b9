"""What ends a training for reasons outside it, in the words of every backend."""

import errno

from vlmtune.backends.failures import disk_full, first_line, not_finite


def test_numbers_that_ran_away_name_the_rows_once_and_not_all_of_many():
    names = [f"r{number}" for number in range(10)]
    told = str(not_finite("the loss is nan", 7, [*names, "r0"], setting="model.dtype"))
    assert told.startswith("the loss is nan at update 7 on rows r0, r1, r2, r3, r4, r5, r6, r7 and")
    assert "and 2 more; lower training.learning_rate, compute in another model.dtype" in told
    assert " on rows" not in str(not_finite("a weight is nan", 7, (), setting="model.dtype"))


def test_a_full_disk_names_the_file_and_says_what_is_whole():
    error = OSError(errno.ENOSPC, "No space left on device", "model.safetensors")
    told = str(disk_full(error, 3))
    assert "at update 3: No space left on device (model.safetensors); free space" in told


def test_of_many_lines_the_first_is_told():
    assert first_line(RuntimeError("\nout of memory\nat 0x1\n")) == "out of memory"
    assert first_line(RuntimeError()) == "RuntimeError"
