"""Names are found by their file, and a wrong one says what there is."""

import subprocess
import sys
from pathlib import Path

import pytest

from vlmtune import discovery
from vlmtune.errors import ConfigError


def test_a_dataset_is_found_by_its_file_name() -> None:
    module = discovery.load("dataset", "jsonl")
    assert module.__name__ == "vlmtune.data.datasets.jsonl"


def test_a_hyphen_and_capitals_name_the_same_file(tmp_path: Path) -> None:
    assert discovery.load("backend", "Scripted") is discovery.load("backend", "scripted")


def test_only_modules_with_the_door_are_listed() -> None:
    backends = discovery.available("backend")
    assert "scripted" in backends
    assert "select" not in backends
    assert {"spatial", "counting", "combined"} <= set(discovery.available("reward"))


def test_listing_names_imports_no_engine() -> None:
    program = (
        "import sys; from vlmtune import discovery\n"
        "for kind in discovery.DOORS: discovery.available(kind)\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'mlx', 'transformers')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_misspelt_name_suggests_the_right_one() -> None:
    with pytest.raises(ConfigError) as caught:
        discovery.load("reward", "spacial")
    line = str(caught.value)
    assert line.startswith("reward 'spacial' not found; did you mean 'spatial'? Available: ")
    assert "counting" in line
    assert "\n" not in line


def test_a_user_file_is_loaded_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "strict.py"
    file.write_text("def build(options):\n    return options['bar']\n")
    assert discovery.load("reward", str(file)).build({"bar": 3}) == 3


def test_a_user_file_may_define_a_dataclass(tmp_path: Path) -> None:
    file = tmp_path / "rows.py"
    file.write_text(
        "from __future__ import annotations\nimport dataclasses\n"
        "@dataclasses.dataclass\nclass Row:\n    text: str\n"
        "def load(): return Row('a')\n"
    )
    assert discovery.load("dataset", str(file)).load().text == "a"


def test_a_missing_user_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        discovery.load("reward", str(tmp_path / "absent.py"))


def test_a_file_of_the_wrong_kind_names_what_it_lacks(tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.write_text("")
    with pytest.raises(ConfigError, match="has no 'build'"):
        discovery.load("reward", str(file))


def test_an_import_error_inside_a_user_file_is_not_hidden(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("import a_library_that_nobody_has\n")
    with pytest.raises(ModuleNotFoundError, match="a_library_that_nobody_has"):
        discovery.load("reward", str(file))


def test_a_dotted_module_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "spatial_pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "strict.py").write_text("def build(options): return 'strict'\n")
    (package / "broken.py").write_text("import a_library_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert discovery.load("reward", "spatial_pack.strict").build({}) == "strict"
    with pytest.raises(ConfigError, match=r"reward 'spatial_pack.absent' not found"):
        discovery.load("reward", "spatial_pack.absent")
    with pytest.raises(ModuleNotFoundError, match="a_library_that_nobody_has"):
        discovery.load("reward", "spatial_pack.broken")
