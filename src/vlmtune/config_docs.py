"""Writes docs/config.md from the config itself, so that it cannot say anything else.

Every setting with its type, default, readers and sentence; what the names of losses mean; and for
each other tool what becomes of every one of its keys.
"""

import inspect
import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vlmtune.aliases import hugging_face, nanovlm_lab, qwenvl_sandbox, rlinf, rules, vlm_r1
from vlmtune.config import RunConfig
from vlmtune.config_aliases import ALIASES
from vlmtune.config_consumers import READERS, use_of
from vlmtune.config_labels import DPO_LOSSES, GRPO_LOSSES, LEVELS
from vlmtune.config_messages import keys_of
from vlmtune.types import JSON, Stage

_INTRODUCTION = """\
<!-- Written by scripts/write_config_docs.py (`make docs`); edit the config, not this page. -->

# Settings

A run is one YAML file. Flags win over `--set`, `--set` over the file, the file over the defaults
below. Unknown keys, wrong types and values out of range are errors; `5e-5` is a number.

```text
python scripts/train.py --config run.yaml --set grpo.temperature=0.7 --dry_run
```

`--dry_run` prints how every setting is read, and stops. Where a key belongs to another tool, the
run says what it was read as; see [other tools' files](#other-tools-files).

- `${section.key}` stands for that key's value, with `--set` already applied;
  `${oc.env:NAME,default}` for a variable of the environment.
- `key=value` without a flag is `--set key=value`.
- `--config` takes a launch script (`.sh`) as well. It is read, never run: variables, and the flags
  of its one `torchrun`, `python`, `accelerate` or `deepspeed` command.
- `WANDB_DISABLED` and `DEBUG_MODE` in the environment are read as if they stood in the file.
  `CUDA_VISIBLE_DEVICES` and `DS_SKIP_CUDA_CHECK` work as their libraries have them.
- `data.datasets: []` with one benchmark in `data.eval_datasets` evaluates and trains nothing.

"Read by" names who acts on a setting: a `rehearsal` (`--debug`, on any backend), training on `mlx`
or `pytorch`, or `evaluate` (`scripts/evaluate.py --config`). A run lists the settings that it does
not read; one that would make it do something else than the file says is refused.
"""

_TOOLS_INTRODUCTION = """\
## Other tools' files

Each file below loads as it is with `scripts/train.py --config FILE`. *used*: the key is ours.
*translated*: it is read as the key shown, and the run says so. *settled*: it is always this way
here, and the run says so. *refused*: with the reason.
"""

_TOOLS = (
    ("NanoVLM-Lab", nanovlm_lab.RULES, nanovlm_lab.ALSO),
    ("RLinf, supervised fine-tuning", rlinf.RULES, rlinf.ALSO),
    ("VLM-R1: variables and flags", vlm_r1.RULES, vlm_r1.ALSO),
    ("qwenvl_sandbox", qwenvl_sandbox.RULES, qwenvl_sandbox.ALSO),
    ("Trainers of transformers and TRL: flags, and keys below `training`", hugging_face.RULES, ()),
)
_PLAIN: tuple[Callable[..., Any], ...] = (
    rules.same, rules.whole, rules.words, rules.truth, rules.sources, rules.sources_or_none,
)  # fmt: skip
"""Conversions that need no words."""


def page() -> str:
    """Write the whole page."""
    parts = [_INTRODUCTION, "## Ours\n", *_sections(), *_labels(), _TOOLS_INTRODUCTION]
    parts += [_tool(title, table, also) for title, table, also in _TOOLS]
    return "\n".join(parts)


def outcome(key: str) -> tuple[str, str]:
    """Say what becomes of a key that somebody may write.

    Returns:
        "used", "translated", "settled", "refused" or "unknown"; and what is read, or why not.
    """
    if key in _ours():
        return "used", "as it is"
    rule = ALIASES.get(key)
    if isinstance(rule, rules.Alias):
        note = f", {rule.note}" if rule.note else ""
        return "translated", _with_words(f"`{rule.to}`{note}", rule.convert)
    if isinstance(rule, rules.Spread):
        return "translated", _with_words(", ".join(f"`{to}`" for to in rule.to), rule.convert)
    if isinstance(rule, rules.Settled):
        other = f"; another value is refused: {rule.otherwise}" if rule.otherwise else ""
        return "settled", rule.why + other
    if isinstance(rule, rules.Refusal):
        return "refused", rule.why
    return "unknown", ""


def _ours() -> set[str]:
    return set(keys_of(RunConfig))


def _with_words(target: str, convert: Callable[..., Any]) -> str:
    if convert in _PLAIN:
        return target
    said = (inspect.getdoc(convert) or "").partition("\n")[0].rstrip(".")
    return f"{target}: {said}" if said else target


def _sections() -> Iterator[str]:
    plain = [name for name, about in RunConfig.model_fields.items() if not _inner(about)]
    yield _table(RunConfig, "", plain, title="The run")
    for name, about in RunConfig.model_fields.items():
        if inner := _inner(about):
            yield from _section(inner, name)


def _section(section: type[BaseModel], path: str) -> Iterator[str]:
    plain = [name for name, about in section.model_fields.items() if not _inner(about)]
    yield _table(section, f"{path}.", plain, title=f"`{path}`")
    for name, about in section.model_fields.items():
        if inner := _inner(about):
            yield from _section(inner, f"{path}.{name}")
    if path == "data":
        entry = get_args(section.model_fields["datasets"].annotation)[0]
        yield from _section(entry, "data.datasets.0")


def _inner(about: FieldInfo) -> type[BaseModel] | None:
    found = about.annotation
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _table(section: type[BaseModel], prefix: str, names: list[str], *, title: str) -> str:
    lines = [f"### {title}", "", inspect.getdoc(section) or "", ""]
    lines += ["| key | type | default | read by | meaning |", "|---|---|---|---|---|"]
    for name in names:
        about = section.model_fields[name]
        cells = (
            f"`{prefix}{name}`",
            _type(about),
            "required" if about.is_required() else f"`{_default(about)}`",
            _readers(prefix + name),
            about.description or "",
        )
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _readers(key: str) -> str:
    use = use_of(key)
    if not use.by:
        return f"nobody: {use.nobody}"
    stages = [stage.value for stage in Stage if stage in use.stages]
    only = "" if len(stages) == len(Stage) else f" ({', '.join(stages)})"
    return ", ".join(reader for reader in READERS if reader in use.by) + only


def _default(about: FieldInfo) -> str:
    value = about.get_default(call_default_factory=True)
    if isinstance(value, list):
        value = [one.model_dump() if isinstance(one, BaseModel) else one for one in value]
    return json.dumps(value)


def _type(about: FieldInfo) -> str:
    bounds = [_bound(mark) for mark in about.metadata]
    return ", ".join([_named(about.annotation), *filter(None, bounds)])


def _bound(mark: Any) -> str:
    words = {"ge": "{} or more", "gt": "more than {}", "le": "{} or less", "lt": "less than {}"}
    for name, phrase in words.items():
        if getattr(mark, name, None) is not None:
            return phrase.format(getattr(mark, name))
    return "not empty" if getattr(mark, "min_length", None) else ""


def _named(kind: Any) -> str:
    names = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    names |= {type(None): "null", Stage: " or ".join(f"`{stage.value}`" for stage in Stage)}
    if kind in names:
        return names[kind]
    if get_origin(kind) is Annotated:
        return _named(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) is list:
        return f"list of {_named(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return "keys and values"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "entries"
    return " or ".join(_named(part) for part in get_args(kind))


def _labels() -> Iterator[str]:
    yield "## What the losses are\n"
    yield (
        "Some guides misname them: `dr_grpo` is no GSPO, DAPO is not divergence-aware, SAPO is no\n"
        "sigmoid-based advantage. What the names stand for in their papers, and here:\n"
    )
    for title, labels in (
        ("grpo.loss_type", GRPO_LOSSES),
        ("grpo.importance_sampling_level", LEVELS),
        ("dpo.loss_type", DPO_LOSSES),
    ):
        yield f"| `{title}` | is |\n|---|---|"
        yield "\n".join(f"| `{name}` | {said} |" for name, said in labels.items())
        yield ""


def _tool(title: str, table: rules.Rules, also: tuple[str, ...]) -> str:
    lines = [f"### {title}", "", "| key | | here |", "|---|---|---|"]
    for key in sorted({*table, *also}, key=_order):
        what, said = outcome(key)
        lines.append(f"| `{key}` | {what} | {_cell(said)} |")
    return "\n".join([*lines, ""])


def _order(key: str) -> tuple[bool, JSON]:
    """Sections together, names without a section first."""
    return "." in key, key
