"""Reads a file that was written for another tool: each key is translated, settled or refused.

    grpo: {max_new_tokens: 128}    is read as    grpo: {max_completion_length: 128}

The tables are in `vlmtune.aliases`, one for each tool. A key that is neither ours nor there is an
unknown key. Every translation is said; nothing is ignored.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from types import MappingProxyType

from vlmtune.aliases import hugging_face, nanovlm_lab, qwenvl_sandbox, rlinf, vlm_r1
from vlmtune.aliases.rules import Alias, Refusal, Rewrite, Rule, Settled, Translation
from vlmtune.config_tree import ABSENT, look, put, take
from vlmtune.errors import ConfigError
from vlmtune.types import JSON

TOOLS: Mapping[str, Mapping[str, Rule]] = MappingProxyType(
    {
        "NanoVLM-Lab": nanovlm_lab.RULES,
        "RLinf": rlinf.RULES,
        "VLM-R1": vlm_r1.RULES,
        "qwenvl_sandbox": qwenvl_sandbox.RULES,
        "transformers and TRL": hugging_face.RULES,
    }
)
"""Tool -> its keys and what becomes of them."""

ALIASES: Mapping[str, Rule] = MappingProxyType(
    {key: rule for rules in TOOLS.values() for key, rule in rules.items()}
)
"""Another tool's dotted key -> what becomes of it."""

_REWRITES: tuple[Rewrite, ...] = (
    rlinf.name_loader,
    vlm_r1.pair_folders,
    qwenvl_sandbox.debug_rows,
)
"""Keys that only mean something together; read before the table."""


def translate(
    values: dict[str, JSON], *, source: str
) -> tuple[dict[str, JSON], tuple[Translation, ...]]:
    """Rewrite other tools' keys as ours.

    Args:
        values: Nested settings; left as they are.
        source: Where they come from, for messages.

    Returns:
        New nested settings, and what was translated.

    Raises:
        ConfigError: If a setting cannot be honoured, or is set under two names with two values.
    """
    values = deepcopy(values)
    done = _rewritten(values, source=source)
    # All are taken before any is put: `debug: {enabled: true}` must be gone when `debug` is set.
    taken = {written: take(values, written) for written in ALIASES}
    ours = deepcopy(values)
    for written, rule in ALIASES.items():
        if taken[written] is ABSENT:
            continue
        for found in _read(written, rule, taken[written], source=source):
            if found.read is not None:
                earlier = next((past for past in done if past.read == found.read), None)
                _refuse_contradiction(found, found.read, ours, earlier, source=source)
                put(values, found.read, found.value)
            done.append(found)
    return values, tuple(done)


def _rewritten(values: dict[str, JSON], *, source: str) -> list[Translation]:
    try:
        return [done for rewrite in _REWRITES for done in rewrite(values)]
    except ValueError as error:
        raise ConfigError(f"{source} cannot be used: {error}") from None


def _read(written: str, rule: Rule, value: JSON, *, source: str) -> Iterator[Translation]:
    """Apply one rule.

    Raises:
        ConfigError: If the rule refuses the key or its value.
    """
    shown = f"'{written}: {value!r}' in {source} cannot be used"
    if isinstance(rule, Refusal):
        raise ConfigError(f"'{written}' in {source} cannot be used: {rule.why}")
    if isinstance(rule, Settled):
        if not rule.accepts(value):
            raise ConfigError(f"{shown}: {rule.otherwise}")
        yield Translation(written=written, read=None, value=value, why=rule.why)
        return
    try:
        if isinstance(rule, Alias):
            ours = rule.convert(value)
            yield Translation(written=written, read=rule.to, value=ours, why=rule.note)
            return
        settings = rule.convert(value)
    except ValueError as error:
        raise ConfigError(f"{shown}: {error}") from None
    for key, one in settings.items():
        yield Translation(written=written, read=key, value=one)
    if not settings:
        yield Translation(written=written, read=None, value=value, why=rule.nothing)


def _refuse_contradiction(
    found: Translation,
    read: str,
    ours: dict[str, JSON],
    earlier: Translation | None,
    *,
    source: str,
) -> None:
    """One setting under two names is fine as long as both say the same."""
    name, present = read, look(ours, read)
    if present is ABSENT and earlier is not None:
        name, present = earlier.written, earlier.value
    if present is not ABSENT and present != found.value:
        raise ConfigError(
            f"{source} sets '{found.written}' to {found.value!r} and '{name}' to {present!r}, "
            "which are the same setting; keep one"
        )
