"""What a run starts from: a model, or what an earlier stage left behind.

--sft_checkpoint ./outputs/sft                          a finished run: its adapter or weights
--sft_checkpoint ./outputs/sft/checkpoints/step_000100  one of its checkpoints
--sft_checkpoint ./my_adapter                           any adapter in peft's layout
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from vlmtune.config import RunConfig
from vlmtune.errors import CheckpointError, ConfigError
from vlmtune.models import adapters
from vlmtune.models.checkpoints import read_json
from vlmtune.models.resolve import aliases, hub_id
from vlmtune.training import checkpoints
from vlmtune.types import JSON, ModelAlias, Start

ADAPTER, WEIGHTS = "adapter_config.json", "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The run that another one starts from.

    Attributes:
        folder: Where it lies.
        stage: Its stage, or "" for a folder that is no run of ours.
        steps: Its updates, or None.
        model: The model that it started from, or "".
    """

    folder: str
    stage: str
    steps: int | None
    model: str


def start(config: RunConfig) -> tuple[Start, Parent | None, str]:
    """Find out what to load.

    Returns:
        What to load, the run that it comes from, and a line that says so.

    Raises:
        CheckpointError: If there is no model in `model.start_from`, or its adapter belongs to
            another model than `model.name`.
        ConfigError: If the settings cannot be followed with what lies there.
    """
    model = config.model
    if model.start_from is None:
        return Start(model=model.name), None, f"{model.name}, as published"
    folder = _with_model(Path(model.start_from).expanduser())
    parent = _parent(folder)
    if (folder / ADAPTER).is_file():
        return _from_adapter(config, folder, parent)
    if model.start_adapter != "continue":
        raise ConfigError(
            f"model.start_adapter: {model.start_adapter}, and {folder} holds whole weights; leave "
            "it out"
        )
    return Start(model=str(folder)), parent, f"the weights in {folder}"


def _from_adapter(config: RunConfig, folder: Path, parent: Parent) -> tuple[Start, Parent, str]:
    model = config.model
    base = str(read_json(folder / ADAPTER).get("base_model_name_or_path") or "")
    if _made_by_a_run(base):
        # What a run merged, or trained as a whole: model.name says where its history began.
        pass
    elif "name" in model.model_fields_set or not base:
        _refuse_other_base(model.name, parent, base=base, folder=folder)
        base = model.name
    elif parent.model and parent.model != base and not Path(base).is_dir():
        base = parent.model
    if model.start_adapter == "merge":
        line = f"the adapter in {folder} merged into {base}"
        return Start(model=base, adapter=folder, merge=True), parent, line
    if model.tuning == "full":
        raise ConfigError(
            f"model.tuning: full cannot {model.start_adapter} the adapter in {folder}; merge it "
            "first with model.start_adapter: merge"
        )
    if model.start_adapter == "stack":
        rank = _stackable(config, folder)
        line = (
            f"the adapter in {folder}, held still, on {base}, and a new one of rank "
            f"{model.lora.rank} above it; saved as one of rank {rank + model.lora.rank}"
        )
        return Start(model=base, adapter=folder, stack=True), parent, line
    _refuse_other_adapter(config, folder)
    line = f"the adapter in {folder}, continued, on {base}"
    return Start(model=base, adapter=folder), parent, line


def _stackable(config: RunConfig, folder: Path) -> int:
    """Read the rank of an adapter that another one can be put above.

    Two LoRAs side by side are one LoRA of both ranks; a DoRA's magnitude, or weights that it has
    whole, cannot be added up like that.
    """
    found = adapters.read_config(folder)
    for what, is_so in (("dora", found.dora), ("modules_to_save", bool(found.whole))):
        if is_so:
            raise ConfigError(
                f"model.start_adapter: stack cannot keep the adapter in {folder}, which has {what}"
                "; continue it, or merge it with model.start_adapter: merge"
            )
    if config.model.tuning != "lora":
        raise ConfigError(
            f"model.start_adapter: stack needs model.tuning: lora, found {config.model.tuning}; "
            "merge the adapter first with model.start_adapter: merge"
        )
    return max([found.rank, *found.rank_pattern.values()])


def asked(
    name: str,
    *,
    adapter: str | None = None,
    keys: tuple[str, str] = ("--model_path", "--adapter_path"),
) -> Start:
    """Find out what a generator is to load.

    Args:
        name: An alias, a hub id, a model's folder; or what training left: a run, a checkpoint, an
            adapter.
        adapter: A run, checkpoint or adapter to put on it, or None.
        keys: What the user calls the two.

    Raises:
        CheckpointError: If there is no model in a folder, or the adapter belongs to another model.
    """
    left = Path(adapter or name).expanduser()
    if adapter is None and not left_by_training(left):
        return Start(model=name)
    folder = _with_model(left, called=keys[1] if adapter else keys[0])
    if not (folder / ADAPTER).is_file():
        if adapter is None:
            return Start(model=str(folder))
        raise CheckpointError(
            f"{keys[1]} {folder} holds whole weights and no adapter; give it as {keys[0]}"
        )
    parent = _parent(folder)
    base = str(read_json(folder / ADAPTER).get("base_model_name_or_path") or "")
    if adapter is not None:
        _refuse_other_base(name, parent, base=base, folder=folder, key=keys[0])
        return Start(model=name, adapter=folder)
    if parent.model and not Path(base).is_dir():
        base = parent.model
    if not base:
        raise CheckpointError(
            f"the adapter in {folder} does not say which model it belongs to; name that model with "
            "--model_path"
        )
    return Start(model=base, adapter=folder)


def trained_over(folder: Path) -> str:
    """Say in how many bits an adapter had the weights below it in training: "4bit", or ""."""
    near = (folder, *folder.resolve().parents[:2])
    record = next((found for place in near if (found := _json(place / "run.json"))), {})
    model = (record.get("config") or {}).get("model") or {}
    bits = str(model.get("quantization", "none"))
    return "" if bits == "none" else bits


def left_by_training(folder: Path) -> bool:
    """Say whether a folder has a run or an adapter in it, and no whole model at its top."""
    if not folder.is_dir() or (folder / WEIGHTS).is_file():
        return False
    return (folder / ADAPTER).is_file() or (folder / "run.json").is_file()


def _refuse_other_base(
    name: str, parent: Parent, *, base: str, folder: Path, key: str = "model.name"
) -> None:
    """An adapter on a model that it was not trained on gives noise without a word of warning."""
    same = {base} if _made_by_a_run(base) else {base, parent.model, Path(base).name}
    both_local = Path(name).exists() and Path(base).exists()
    if not base or name in same or (both_local and Path(name).samefile(base)):
        return
    if hub_id(Path(base)) == name:
        return
    published = {known.hub_id for backend in ("pytorch", "mlx") if (known := _alias(name, backend))}
    if any(_float_name(one) == _float_name(base) for one in (*published, name)):
        return
    raise CheckpointError(
        f"the adapter in {folder} was trained on {base}, and {key} says {name}; leave {key} out, "
        "or name that model"
    )


def _made_by_a_run(base: str) -> bool:
    """Tell weights in a run's folder, or merged into a folder of its own, from published ones."""
    place = Path(base)
    near = (place / "run.json", place.parent / "run.json")
    return bool(base) and place.is_dir() and any(file.is_file() for file in near)


def _alias(name: str, backend: str) -> ModelAlias | None:
    return aliases(backend).get(name)


def _float_name(published: str) -> str:
    """Name the float weights that quantised ones were made of: ".../Qwen-3B-4bit" is Qwen-3B."""
    return re.sub(r"-(?:\d+bit|bf16|fp16)$", "", published.rpartition("/")[2], flags=re.IGNORECASE)


def _refuse_other_adapter(config: RunConfig, folder: Path) -> None:
    """A continued adapter keeps its shape; a setting that says otherwise would be ignored."""
    found = read_json(folder / ADAPTER)
    lora = config.model.lora
    stated = {
        "rank": ("r", lora.rank),
        "alpha": ("lora_alpha", lora.alpha),
        "dropout": ("lora_dropout", lora.dropout),
    }
    for key, (theirs, wanted) in stated.items():
        if key in lora.model_fields_set and found.get(theirs) != wanted:
            raise ConfigError(
                f"model.lora.{key} is {wanted} and the adapter in {folder} has {found.get(theirs)},"
                " which it keeps; leave it out, or merge it with model.start_adapter: merge"
            )
    pattern = str(found.get("target_modules"))
    absent = [name for name in lora.target_modules or () if not re.search(rf"\b{name}\b", pattern)]
    if absent:
        raise ConfigError(
            f"model.lora.target_modules names {absent[0]}, which the adapter in {folder} does not "
            "adapt; leave it out, or merge it with model.start_adapter: merge"
        )
    wants_dora = config.model.tuning == "dora"
    if "tuning" in config.model.model_fields_set and bool(found.get("use_dora")) != wants_dora:
        kind = "dora" if found.get("use_dora") else "lora"
        raise ConfigError(
            f"model.tuning is {config.model.tuning} and the adapter in {folder} is {kind}; set it "
            f"to {kind}, or merge it with model.start_adapter: merge"
        )


def _with_model(folder: Path, *, called: str = "model.start_from") -> Path:
    """Find the model in a run's folder: finished, else its newest checkpoint."""
    if not folder.is_dir():
        raise CheckpointError(
            f"{called} {folder} does not exist; name a run, a checkpoint or an adapter"
        )
    if (folder / ADAPTER).is_file() or (folder / WEIGHTS).is_file():
        return folder
    moved = _json(folder / "run.json").get("result", {}).get("model")
    if moved and _holds_model(Path(moved)):
        return Path(moved)
    if found := checkpoints.steps(folder):
        return found[-1]
    raise CheckpointError(
        f"{called} {folder} holds neither an adapter nor weights nor checkpoints; name the "
        "folder of a run that was trained"
    )


def _holds_model(folder: Path) -> bool:
    return (folder / ADAPTER).is_file() or (folder / WEIGHTS).is_file()


def _parent(folder: Path) -> Parent:
    near = (folder, *folder.resolve().parents[:2])
    runs = [place for place in near if (place / "run.json").is_file()]
    record = _json(runs[0] / "run.json") if runs else {}
    started = record.get("start") or {}
    return Parent(
        folder=str(folder),
        stage=str(record.get("stage", "")),
        steps=(record.get("result") or {}).get("steps"),
        model=str(started.get("model", "")),
    )


def _json(path: Path) -> dict[str, JSON]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
