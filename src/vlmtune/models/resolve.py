"""From what the user typed to a checked model folder: alias, local folder or hub id.

    pico                                     the model inside this package, no download
    3b-4bit ... 32b-4bit                     Qwen2.5-VL for MLX, from the hub
    ./outputs/sft                            a folder
    mlx-community/Qwen2.5-VL-3B-Instruct-4bit  a hub id

Nothing here loads a model or, before `fetch`, touches the network.
"""

import difflib
import importlib
import os
import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path

import vlmtune.models.families
from vlmtune.errors import BackendUnavailable, CheckpointError, ConfigError
from vlmtune.models.checkpoints import check_folder, weights_gib
from vlmtune.models.quantised import origin
from vlmtune.types import ModelAlias, ModelFamily

PICO = "pico"
PICO_FOLDER = Path(__file__).parent / "pico"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
DOWNLOADED = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model")
"""What is fetched of a hub repository: never Python, never pickles."""
_WORKSPACE = 1.2  # KV cache and activations beside the weights, at the default batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Where a model's files are or will be.

    Attributes:
        name: As the user named it.
        location: A folder, or a hub id when `is_local` is False.
        is_local: The files are on this machine.
        ram_gib: Memory that generation needs, in GiB; None where nobody knows before the download.
        family: Facts about the architecture; None before the download of a hub id.
    """

    name: str
    location: str
    is_local: bool
    ram_gib: float | None
    family: ModelFamily | None


def families() -> dict[str, ModelFamily]:
    """Read all families, by their `model_type`."""
    package = vlmtune.models.families
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return {module.FAMILY.model_type: module.FAMILY for module in modules}


def aliases(backend: str = "mlx") -> dict[str, ModelAlias]:
    """List the short names of published weights for a backend; `pico` comes on top of them."""
    return {
        alias: weights
        for family in families().values()
        for alias, weights in family.aliases.get(backend, {}).items()
    }


def resolve(name: str, *, backend: str = "mlx") -> Resolved:
    """Find out which weights a name stands for, without touching the network.

    Args:
        name: An alias, a folder or a hub id.
        backend: Whose aliases apply.

    Raises:
        ConfigError: If the name is neither; the message suggests one.
        CheckpointError: If it is a folder that is incomplete, unsafe or of an unknown
            architecture, or a path that does not exist.
    """
    if name == PICO:
        return _local(name, PICO_FOLDER)
    known = aliases(backend)
    if name in known:
        family = next(f for f in families().values() if name in f.aliases.get(backend, {}))
        return Resolved(
            name=name,
            location=known[name].hub_id,
            is_local=False,
            ram_gib=known[name].ram_gib,
            family=family,
        )
    _refuse_foreign_alias(name, backend=backend)
    folder = Path(name).expanduser() if name.startswith("~/") else Path(name)
    if name and folder.is_dir():
        return _local(name, folder)
    looks_like_path = name.startswith((".", "~", "/")) or name.count("/") > 1 or "\\" in name
    if looks_like_path or folder.is_file():
        found = "is a file" if folder.is_file() else "does not exist"
        raise CheckpointError(f"model path {name} {found}; give a folder with config.json in it")
    if HUB_ID.fullmatch(name):
        _refuse_made_for_mlx(name, backend=backend)
        return Resolved(name=name, location=name, is_local=False, ram_gib=None, family=None)
    raise ConfigError(_unknown(name, [PICO, *known]))


def _refuse_foreign_alias(name: str, *, backend: str) -> None:
    """Say which weights to take when an alias belongs to another backend."""
    others = {other for family in families().values() for other in family.aliases}
    for other in sorted(others - {backend}):
        if name in aliases(other) and not Path(name).is_dir():
            size = name.partition("-")[0]
            same = size if size in aliases(backend) else next(iter(aliases(backend)), PICO)
            raise ConfigError(
                f"model '{name}' is an alias of backend {other}, and this is {backend}; "
                f"take '{same}', or --backend {other}"
            )


def _refuse_made_for_mlx(name: str, *, backend: str) -> None:
    """Refuse weights that PyTorch cannot read before they are downloaded."""
    if backend != "pytorch" or not name.startswith("mlx-community/"):
        return
    floats = float_checkpoint(name) or "the checkpoint that it was made from"
    raise ConfigError(
        f"'{name}' was made for MLX, and PyTorch cannot read it; take {floats}, with "
        "model.quantization: 4bit where memory is short, or --backend mlx"
    )


def float_checkpoint(name: str, folder: Path | None = None) -> str:
    """Name the float weights that a checkpoint made for MLX comes from.

    Args:
        name: Its hub id or folder name.
        folder: Where its files are, if they are here; its card names the origin.

    Returns:
        A hub id; "" where nothing says so.
    """
    published = [alias.hub_id for alias in aliases("pytorch").values()]
    return origin(name, folder, published=published)


def _local(name: str, folder: Path) -> Resolved:
    if not folder.is_dir():
        raise CheckpointError(
            f"model '{name}' should be in {folder}, which does not exist; install the package again"
        )
    family = _family(folder)
    ram_gib = weights_gib(folder) * _WORKSPACE
    return Resolved(name=name, location=str(folder), is_local=True, ram_gib=ram_gib, family=family)


def _family(folder: Path) -> ModelFamily:
    found = str(check_folder(folder).get("model_type", "none"))
    known = families()
    if found not in known:
        raise CheckpointError(
            f"model folder {folder} has model_type '{found}', which is not supported; "
            f"supported: {', '.join(known)}"
        )
    return known[found]


def _unknown(name: str, available: list[str]) -> str:
    close = difflib.get_close_matches(name, available, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return (
        f"model '{name}' not found; {hint}Available: {', '.join(available)}, a local folder, "
        "or a hub id like owner/name"
    )


def fetch(resolved: Resolved) -> Resolved:
    """Bring a hub model onto this machine, or take it from the hub's cache; local ones pass.

    Raises:
        CheckpointError: If the hub cannot be reached, does not know the id, or what it sent is
            incomplete.
    """
    if resolved.is_local:
        return resolved
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = huggingface_hub.snapshot_download(
            resolved.location, allow_patterns=list(DOWNLOADED)
        )
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"hub unreachable, and {resolved.location} is neither a local folder nor in the hub's "
            "cache; connect to the network, or give a local folder, or 'pico', which is built in"
        ) from error
    except HfHubHTTPError as error:
        raise CheckpointError(
            f"the hub refused {resolved.location}: {str(error).splitlines()[0]}; check the id, or "
            "log in if it is private. No local folder has this name either"
        ) from error
    local = _local(resolved.name, Path(folder))
    return Resolved(
        name=resolved.name,
        location=local.location,
        is_local=True,
        ram_gib=resolved.ram_gib or local.ram_gib,
        family=local.family,
    )


def hub_id(folder: Path) -> str:
    """Read the hub id out of a folder of the hub's cache; "" for any other folder."""
    part = next((part for part in folder.parts if part.startswith("models--")), "")
    return part.removeprefix("models--").replace("--", "/")


def machine_memory_gib() -> float:
    """Measure this machine's memory in GiB, as far as a container lets us use it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file():
        text = limit.read_text(encoding="ascii").strip()
        total = min(total, int(text)) if text.isdigit() else total
    return total / 2**30


def check_memory(resolved: Resolved, *, available_gib: float) -> str | None:
    """Compare what a model needs with what the machine has, before anything is loaded.

    Args:
        resolved: The model.
        available_gib: Memory of the machine, in GiB.

    Returns:
        A warning when more than three quarters of the memory will be in use, else None.

    Raises:
        BackendUnavailable: If the model cannot fit; it would page for hours instead of failing.
    """
    need = resolved.ram_gib
    if need is None or need <= 0.75 * available_gib:
        return None
    numbers = f"model '{resolved.name}' needs about {need:.1f} GiB of {available_gib:.1f} GiB"
    if need > available_gib:
        raise BackendUnavailable(
            f"{numbers} of memory on this machine; take a smaller one (pico, 3b-4bit)"
        )
    return f"{numbers} of memory on this machine; close other programs or it may page"
