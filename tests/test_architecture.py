"""The house rules that a machine can hold: sizes, names, floors, docstrings, nothing private."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
PACKAGE = CHECKOUT / "src" / "vlmtune"
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc", "core"}
TEXT = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".html", ".css", ".js", ".json", ".sh", ""}
PRIVATE = (
    # Hosts of package registries and their mirrors: an install command needs none of them.
    r"files\.pythonhosted", r"pypi\.org/simple", r"registry\.npmjs", r"proxy\.golang",
    r"--(?:extra-)?index-url", r"find-links", r"/opt/pypi", r"/opt/wheels",
    # Folders of somebody's machine.
    r"/root/", r"/work/(?:main|shared)", r"/home/\w+/", r"/Users/\w+/",
)  # fmt: skip


def python_files() -> list[Path]:
    folders = ("src", "scripts", "tests", "benchmarks")
    return sorted(path for folder in folders for path in (CHECKOUT / folder).rglob("*.py"))


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [CHECKOUT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def name_of(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {name_of(p): len(p.read_text(encoding="utf-8").splitlines()) for p in python_files()}
    assert {name: n for name, n in lengths.items() if n > LONGEST_FILE} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    long = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in python_files()
        for node in functions(tree_of(path))
        if (node.end_lineno or node.lineno) - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert long == []


def test_no_module_has_a_vague_name() -> None:
    assert [name_of(p) for p in PACKAGE.rglob("*") if p.stem.strip("_") in VAGUE] == []


def test_every_public_name_has_a_docstring() -> None:
    silent = [
        f"{name_of(path)}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in _undocumented(tree_of(path))
    ]
    assert silent == []


def _undocumented(tree: ast.Module) -> Iterator[str]:
    if ast.get_docstring(tree) is None:
        yield "the module"
    scopes: list[ast.Module | ast.ClassDef] = [tree]
    while scopes:
        scope = scopes.pop()
        for node in scope.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None:
                yield f"line {node.lineno} {node.name}"
            if isinstance(node, ast.ClassDef):
                scopes.append(node)


def test_imports_at_module_level_make_no_circle() -> None:
    known = _modules()
    graph = {module: set(_imports(path, known)) for module, path in known.items()}
    circles = [" > ".join(circle) for module in graph if (circle := _circle(graph, (module,)))]
    assert circles == []


def _modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    for node in tree_of(path).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                target = inner if inner in known else node.module
                if target in known:
                    yield target


def _circle(graph: dict[str, set[str]], way: tuple[str, ...]) -> tuple[str, ...] | None:
    """Find a way from its first module back to it, looking at each module once."""
    start, seen, waiting = way[0], set(), [way]
    while waiting:
        way = waiting.pop()
        for following in graph.get(way[-1], ()):
            if following == start:
                return (*way, start)
            if following not in seen:
                seen.add(following)
                waiting.append((*way, following))
    return None


def test_the_circle_finder_finds_circles() -> None:
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}, ("a",)) == ("a", "b", "c", "a")
    assert _circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}, ("a",)) is None


def test_importing_vlmtune_loads_nothing_heavy() -> None:
    program = "import vlmtune, sys; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "vlmtune" in loaded
    assert not loaded & {"torch", "mlx", "mlx_vlm", "transformers", "rich", "jinja2", "datasets"}


def test_tracked_text_names_no_registry_and_no_machine() -> None:
    pattern = re.compile("|".join(PRIVATE))
    here = Path(__file__).resolve()
    found = [
        f"{name_of(path)}:{number}: {hit.group()}"
        for path in tracked_files()
        if path.suffix in TEXT and path.resolve() != here and path.stat().st_size < 1_000_000
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (hit := pattern.search(line))
    ]
    assert found == []


def test_constraints_hold_exact_versions_and_no_addresses() -> None:
    for name in ("constraints.txt", "constraints-cloud.txt"):
        for line in (CHECKOUT / name).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                assert re.fullmatch(r"[a-z0-9._-]+==[\w.]+( ; .+)?", line), line


@pytest.mark.parametrize("stage", ["sft", "dpo", "grpo"])
def test_every_stage_has_a_script_of_its_name(stage: str) -> None:
    assert (CHECKOUT / "scripts" / f"train_{stage}.py").is_file()


def test_scripts_only_parse_call_and_exit() -> None:
    for path in (CHECKOUT / "scripts").glob("train*.py"):
        assert 15 <= len(path.read_text(encoding="utf-8").splitlines()) <= 40, path


def test_the_floor_plan_lists_exactly_the_rooms_that_exist() -> None:
    text = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([a-z0-9_/]+(?:\.py)?)` \|", text, flags=re.MULTILINE))
    rooms = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_dir() and path.name != "__pycache__" and any(path.glob("*.py"))
    }
    rooms |= {path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py"}
    assert listed == rooms
