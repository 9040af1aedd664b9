"""One law for everything that has a name: the file's name is the config's name.

    reward 'spatial'          src/vlmtune/rewards/spatial.py, because it has a `build`
    dataset 'rlhf-v'          src/vlmtune/data/datasets/rlhf_v.py
    reward 'my_pack.strict'   a module that Python finds
    reward 'strict.py'        a file, relative to the working directory

There are no registries. Listing the names reads the files' text and imports nothing; this is the
one sanctioned way from a lower floor to a higher one.
"""

import ast
import difflib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from vlmtune.errors import ConfigError

DOORS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "dataset": ("vlmtune.data.datasets", "load"),
        "reward": ("vlmtune.rewards", "build"),
        "family": ("vlmtune.models.families", "FAMILY"),
        "benchmark": ("vlmtune.evaluation.benchmarks", "BENCHMARK"),
        "backend": ("vlmtune.backends", "NAME"),
        "scorer": ("vlmtune.backends.pytorch", "load_scorer"),
    }
)
"""Kind -> the package to look in, and the name that makes a module one of that kind."""


def available(kind: str) -> tuple[str, ...]:
    """List the names of a kind, sorted, importing none of them.

    Args:
        kind: A key of `DOORS`.

    Raises:
        KeyError: If the kind does not exist.
    """
    package, door = DOORS[kind]
    folders = _folders(package)
    modules = pkgutil.iter_modules([str(folder) for folder in folders])
    return tuple(sorted(info.name for info in modules if _has_door(folders, info.name, door)))


def load(kind: str, name: str) -> Any:  # The protocol depends on `kind`; callers annotate it.
    """Import what `name` stands for.

    Args:
        kind: A key of `DOORS`.
        name: A name of `available(kind)` with '-' or '_', a dotted module, or a .py file.

    Returns:
        The module; it has the attribute that `DOORS` asks for.

    Raises:
        ConfigError: If nothing is found under that name, or what is found is not of that kind.
        Exception: Whatever the module itself raises while it is imported, untouched.
    """
    if name.endswith(".py"):
        return _checked(kind, name, load_file(kind, name))
    plain = name.replace("-", "_").lower()
    if plain in available(kind):
        return importlib.import_module(f"{DOORS[kind][0]}.{plain}")
    if "." in name and all(part.isidentifier() for part in name.split(".")):
        return _checked(kind, name, _from_module(kind, name))
    raise ConfigError(_not_found(kind, name))


def load_file(kind: str, name: str) -> ModuleType:
    """Import a user's file, whatever it defines.

    Args:
        kind: What it is to be, for messages.
        name: A .py file, relative to the working directory.

    Raises:
        ConfigError: If there is no such file.
        Exception: Whatever the file itself raises while it is imported, untouched.
    """
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"{kind} '{path}' not found: no such file; paths start at {Path.cwd()}")
    # The full path in the name keeps two files of one name apart in sys.modules.
    title = "vlmtune_user_" + "_".join(path.resolve().with_suffix("").parts[1:])
    spec = importlib.util.spec_from_file_location(title.replace(".", "_"), path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{kind} '{path}' cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickling look a module up by its name while it is being built.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _from_module(kind: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A missing part of the name itself is the user's; anything else is missing inside the file.
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ConfigError(_not_found(kind, name)) from None
        raise


def _checked(kind: str, name: str, module: ModuleType) -> ModuleType:
    door = DOORS[kind][1]
    if hasattr(module, door):
        return module
    raise ConfigError(f"{kind} '{name}' has no '{door}', which makes a file a {kind}; define it")


def _not_found(kind: str, name: str) -> str:
    names = available(kind)
    close = difflib.get_close_matches(name.replace("-", "_").lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    listed = ", ".join(names) or "none in this version"
    return f"{kind} '{name}' not found; {hint}Available: {listed}"


def _folders(package: str) -> tuple[Path, ...]:
    """Find a package's folders without importing it: only the folders' names are needed."""
    first, *rest = package.split(".")
    spec = importlib.util.find_spec(first)
    roots = spec.submodule_search_locations if spec is not None else None
    return tuple(folder for root in roots or () if (folder := Path(root).joinpath(*rest)).is_dir())


def _has_door(folders: tuple[Path, ...], name: str, door: str) -> bool:
    if name.startswith("_"):
        return False
    candidates = [folder / f"{name}.py" for folder in folders]
    candidates += [folder / name / "__init__.py" for folder in folders]
    return any(door in _top_level_names(path) for path in candidates if path.is_file())


def _top_level_names(path: Path) -> frozenset[str]:
    """Read which names a file defines or imports at its top level, without running it."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8"), filename=str(path)).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
    return frozenset(names)
