"""Settings out of a launch script: its variables and the flags of its one training command.

export EXP_NAME="internvl-vivqa"
torchrun --nproc_per_node="1" grpo_jsonl.py --output_dir checkpoints/${EXP_NAME} --beta 0.04

The script is read and never run. Variables are put into the flags; a variable that no flag uses
is a setting by itself where its name is known (`EXP_NAME`, `DEBUG_MODE`). Lines that only move
around (`cd`, `mkdir`) are left and told; anything that would have to be run to be understood is
refused.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vlmtune import config_yaml
from vlmtune.config_aliases import ALIASES
from vlmtune.errors import ConfigError
from vlmtune.types import JSON

SUFFIXES = (".sh", ".bash")
_LAUNCHERS = {"torchrun", "python", "python3", "accelerate", "deepspeed"}
_IDLE = {"cd", "mkdir", "echo", "set", "source", "conda", "sleep", "ulimit", "nvidia-smi"}
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)=")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_ENDS = {"|", ">", ">>", "2>", "2>&1", "&>", "&", "&&", ";"}
_RUN = ("$(", "`")


@dataclass(slots=True)
class _Script:
    """What has been read so far."""

    name: str
    variables: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    flags: dict[str, JSON] | None = None
    left: list[str] = field(default_factory=list)


def read(path: Path) -> tuple[config_yaml.Document, tuple[str, ...]]:
    """Read a script's settings.

    Returns:
        The settings under the names that the script uses, and what was left unread.

    Raises:
        ConfigError: If it cannot be read, or does what only a shell understands.
    """
    script = _Script(name=str(path))
    for number, line in _logical_lines(config_yaml.text_of(path)):
        _read_line(script, line, number)
    if script.flags is None and not set(script.variables) & set(ALIASES):
        raise ConfigError(
            f"{path} has no training command and no variable that is a setting; name a YAML file"
        )
    own = {
        name: config_yaml.scalar(value)
        for name, value in script.variables.items()
        if name in ALIASES and name not in script.used
    }
    unused = sorted(set(script.variables) - set(own) - script.used)
    script.left += [f"{path}: variable {name} is no setting" for name in unused]
    values = {**own, **(script.flags or {})}
    lines = {key: script.lines[key] for key in values}
    return config_yaml.Document(values=values, lines=lines), tuple(script.left)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Join lines that end with a backslash; each keeps the number of its first."""
    start, held = 1, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not held:
            start = number
        if line.rstrip().endswith("\\") and not line.lstrip().startswith("#"):
            held += line.rstrip()[:-1] + " "
            continue
        yield start, held + line
        held = ""
    if held:
        yield start, held


def _read_line(script: _Script, line: str, number: int) -> None:
    where = f"{script.name} line {number}"
    assigned = _ASSIGNMENT.match(line.strip())
    if assigned and any(sign in line for sign in _RUN):
        # What a command prints is not known here; it matters only if a setting needs it.
        script.unknown.add(assigned[1])
        return
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise ConfigError(f"{where} cannot be read: {error}; close the quotes") from None
    if words[:1] == ["export"]:
        words = words[1:]
    while words and (found := _ASSIGNMENT.match(words[0])):
        name, _, value = words.pop(0).partition("=")
        script.variables[found[1]] = _expanded(script, value, where=where, by_flag=False)
        script.lines[name] = number
    if not words:
        return
    if words[0] in _LAUNCHERS:
        _read_command(script, words, number)
    elif words[0] in _IDLE:
        script.left.append(f"{where} is not run: {shlex.join(words)[:60]}")
    else:
        raise ConfigError(
            f"{where} is '{words[0]}', which only a shell can run; keep variables and the training "
            "command, or write the settings as YAML"
        )


def _read_command(script: _Script, words: list[str], number: int) -> None:
    where = f"{script.name} line {number}"
    if script.flags is not None:
        raise ConfigError(f"{where} is a second command; keep the one that trains")
    script.flags = {}
    name = ""
    given: dict[str, list[str]] = {}
    for word in words[1:]:
        if word in _ENDS:
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            given[name] = [value] if equals else []
        elif name and not word.endswith(".py"):
            given[name].append(word)
    for name, parts in given.items():
        # An empty variable is no word to a shell.
        texts = [_expanded(script, part, where=where, by_flag=True) for part in parts]
        found = [config_yaml.scalar(text) for text in texts]
        script.flags[name] = True if not found else found[0] if len(found) == 1 else found
        script.lines[name] = number


def _expanded(script: _Script, text: str, *, where: str, by_flag: bool) -> str:
    def value(found: re.Match[str]) -> str:
        """Replace one variable by its value, and note that a flag used it."""
        name = found[1] or found[2]
        if name in script.unknown:
            raise ConfigError(
                f"{where} uses ${name}, which a command would have to compute; write its value out"
            )
        if name not in script.variables:
            raise ConfigError(f"{where} uses ${name}, which the script does not set; set it there")
        if by_flag:
            script.used.add(name)
        return script.variables[name]

    return _VARIABLE.sub(value, text)
