"""One model or adapter in another layout, written beside the first and held against it.

source                                    to             what is written
run, checkpoint or adapter                merged         a model folder with the adapter in it
run, checkpoint or adapter                mlx-vlm        mlx-vlm's own layout of adapters
adapter of mlx-vlm                        peft, merged
full_weights.pt, shards of FSDP or ZeRO   transformers   a model folder
model folder                              mlx-vlm        its config laid out flat
model folder                              transformers   its config laid out nested
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from vlmtune.errors import CheckpointError, ConfigError
from vlmtune.models import adapters, layer_names, merging, mlx_vlm_adapters, model_folder
from vlmtune.models.adapters import Adapter
from vlmtune.models.checkpoints import PICKLE_SUFFIXES, flatten_config, nest_config, read_json
from vlmtune.models.quantised import packed_bits
from vlmtune.models.resolve import fetch, float_checkpoint, resolve
from vlmtune.training import agreement, lineage
from vlmtune.training.progress import Tracks

MERGED, PEFT, MLX_VLM, TRANSFORMERS = "merged", "peft", "mlx-vlm", "transformers"
ADAPTER, MLX_ADAPTER, WEIGHTS, MODEL = "adapter", "mlx-vlm adapter", "weights", "model"
TARGETS = {
    ADAPTER: (MERGED, MLX_VLM),
    MLX_ADAPTER: (PEFT, MERGED),
    WEIGHTS: (TRANSFORMERS,),
    MODEL: (TRANSFORMERS, MLX_VLM),
}
"""Kind of source -> what it can become; alone, the only one is what is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What is asked for.

    Attributes:
        source: What to convert: a path, or a model's name.
        to: One of TARGETS' values, or None for the only one that there is.
        model: The model below an adapter, or that was trained; None where the source says it.
        folder: Where to write; must not exist.
        dtype: fp32, bf16 or fp16; None for the format of the model below.
        backend: What computes the logits that are compared.
        tolerance: Largest distance from base and adapter, as a share of what the adapter moves;
            None for what the format of the weights allows.
        logits: Compute them at all.
    """

    source: str
    to: str | None
    model: str | None
    folder: Path
    dtype: str | None = None
    backend: str = "auto"
    tolerance: float | None = None
    logits: bool = True


def convert(asked: Conversion, console: Console) -> None:
    """Write a model or adapter in another layout; nothing is left behind where that fails.

    Raises:
        ConfigError: If the source cannot become that, or the folder exists.
        CheckpointError: If a file is damaged or has code in it, or parts do not fit together.
        RunFailed: If what was written does not do what it should.
    """
    model_folder.refuse_existing(asked.folder)
    kind, source = _kind(asked.source)
    to = _target(asked, kind)
    console.print(f"{kind} {escape(str(source))} -> {to} {escape(str(asked.folder))}")
    steps: dict[tuple[str, str], Callable[[Conversion, Path, Console], str]] = {
        (ADAPTER, MERGED): _merge,
        (ADAPTER, MLX_VLM): _to_mlx_vlm,
        (MLX_ADAPTER, PEFT): _from_mlx_vlm,
        (MLX_ADAPTER, MERGED): _merge_mlx_vlm,
        (WEIGHTS, TRANSFORMERS): _assemble,
        (MODEL, TRANSFORMERS): _relay,
        (MODEL, MLX_VLM): _relay,
    }
    following = steps[kind, to](replace(asked, to=to), source, console)
    console.print(f"\nWritten to {escape(str(asked.folder))}")
    console.print(f"Next: {escape(following)}")


def _kind(name: str) -> tuple[str, Path]:
    """Find out what a source is, and where.

    Raises:
        CheckpointError: If it is nothing that can be converted.
    """
    path = Path(name).expanduser()
    if path.is_file():
        if path.suffix in PICKLE_SUFFIXES:
            return WEIGHTS, path
        raise CheckpointError(
            f"--source {name} is a file that is none of {', '.join(PICKLE_SUFFIXES)}; name the "
            "folder that it lies in"
        )
    if mlx_vlm_adapters.is_mlx_vlm_adapter(path):
        return MLX_ADAPTER, path
    if path.is_dir() and _is_sharded(path) and not (path / lineage.ADAPTER).is_file():
        return WEIGHTS, path
    if lineage.left_by_training(path):
        start = lineage.asked(name, keys=("--source", "--source"))
        return (ADAPTER, start.adapter) if start.adapter else (MODEL, Path(start.model))
    return MODEL, Path(fetch(resolve(name, backend="pytorch")).location)


def _is_sharded(folder: Path) -> bool:
    """Say whether a folder has an engine's shards in it, without opening any."""
    signs = (".metadata", "*/.metadata", "*_optim_states.pt", "global_step*/*_optim_states.pt")
    return any(any(folder.glob(sign)) for sign in signs) and not (folder / "config.json").is_file()


def _target(asked: Conversion, kind: str) -> str:
    possible = TARGETS[kind]
    if asked.to is None and len(possible) == 1:
        return possible[0]
    if asked.to not in possible:
        found = "is missing" if asked.to is None else f"is {asked.to}"
        raise ConfigError(
            f"--to {found}; {asked.source} is a source of kind '{kind}', which becomes "
            f"{' or '.join(possible)}"
        )
    return asked.to


def _merge(asked: Conversion, source: Path, console: Console) -> str:
    start = (
        lineage.asked(asked.source, keys=("--source", "--source"))
        if asked.model is None
        else lineage.asked(asked.model, adapter=asked.source, keys=("--model_path", "--source"))
    )
    if bits := lineage.trained_over(source):
        console.print(
            f"note: this adapter was trained over {bits} weights, and is merged into float ones, "
            "which are a little closer to what was published"
        )
    return _merged(asked, adapters.read(source), source, start.model, console)


def _merge_mlx_vlm(asked: Conversion, source: Path, console: Console) -> str:
    if asked.model is None:
        raise ConfigError("--model_path is missing: mlx-vlm does not write down an adapter's model")
    found = mlx_vlm_adapters.read(source, base_model=asked.model)
    with model_folder.building(asked.folder.with_name(f".{asked.folder.name}.peft")) as layout:
        adapters.write(found, layout)
        return _merged(asked, found, layout, asked.model, console)


def _merged(asked: Conversion, adapter: Adapter, source: Path, model: str, console: Console) -> str:
    base = Path(fetch(resolve(model, backend="pytorch")).location)
    merging.refuse_packed(base)
    kind = merging.KINDS[asked.dtype] if asked.dtype else None
    count = len(model_folder.weights_of(base))
    with model_folder.building(asked.folder) as folder:
        with Tracks(console)("merging tensors", count) as advance:
            done = merging.merge(base, adapter, folder, kind=kind, progress=advance)
        lost = f", {done.rounded_away} more were rounded back" if done.rounded_away else ""
        console.print(f"changed  {done.changed} of {done.tensors} tensors{lost}, {done.kind}")
        if asked.logits:
            agreement.check(
                str(base),
                source,
                folder,
                backend=asked.backend,
                tolerance=asked.tolerance,
                kind=done.kind,
                console=console,
            )
        else:
            console.print("logits   not compared, as asked")
    return f"python scripts/evaluate.py --model_path {asked.folder} --benchmarks scenes-vsr"


def _to_mlx_vlm(asked: Conversion, source: Path, console: Console) -> str:
    found = adapters.read(source)
    model = asked.model or found.config.base_model or "MODEL"
    with model_folder.building(asked.folder) as folder:
        mlx_vlm_adapters.write(found, folder)
    console.print(f"layers   {len(found.layers)}, names and matrices as mlx-vlm has them")
    return f"python -m mlx_vlm.generate --model {model} --adapter-path {asked.folder} --prompt Hi"


def _from_mlx_vlm(asked: Conversion, source: Path, console: Console) -> str:
    found = mlx_vlm_adapters.read(source, base_model=asked.model or "")
    with model_folder.building(asked.folder) as folder:
        adapters.write(found, folder)
    console.print(f"layers   {len(found.layers)}, names and matrices as peft has them")
    if asked.model is None:
        console.print("note: mlx-vlm does not write down the model; --model_path would note it")
    model = asked.model or "MODEL"
    return f"python scripts/evaluate.py --model_path {model} --adapter_path {asked.folder}"


def _assemble(asked: Conversion, source: Path, console: Console) -> str:
    from vlmtune.backends.pytorch.assemble import assemble

    if asked.model is None:
        raise ConfigError(
            "--model_path is missing: the model that was trained, whose config, tokenizer and "
            "processor the folder gets"
        )
    base = Path(fetch(resolve(asked.model, backend="pytorch")).location)
    kind = merging.KINDS[asked.dtype] if asked.dtype else None
    bar: list[AbstractContextManager[Callable[[int], None]]] = []

    def count(tensors: int) -> Callable[[int], None]:
        """Open the bar once the number of tensors is known, and return what moves it."""
        bar.append(Tracks(console)("writing tensors", tensors))
        return bar[0].__enter__()

    with model_folder.building(asked.folder) as folder:
        try:
            done = assemble(source, base, folder, kind=kind, count=count)
        finally:
            for one in bar:
                one.__exit__(None, None, None)
        if done.is_adapter:
            console.print(f"adapter  {done.tensors} tensors, in peft's layout")
        else:
            console.print(f"changed  {done.changed} of {done.tensors} tensors since {base.name}")
    return f"python scripts/evaluate.py --model_path {asked.folder} --benchmarks scenes-vsr"


def _relay(asked: Conversion, source: Path, console: Console) -> str:
    """Copy a model folder with its config laid out in another way; weights stay as they are."""
    config = read_json(source / "config.json")
    weights = model_folder.weights_of(source)
    if asked.to == TRANSFORMERS:
        if bits := packed_bits(source):
            floats = float_checkpoint(source.name, source) or "the float weights it was made from"
            raise ConfigError(
                f"the weights in {source} are packed in {bits} bits for MLX, and transformers "
                f"cannot read them; take {floats}"
            )
        if any(name.startswith(layer_names.MLX_VISION) for name in weights):
            raise CheckpointError(
                f"the weights in {source} were rewritten for MLX, and transformers cannot read "
                "them; take the checkpoint that they were made from"
            )
    laid = nest_config(config) if asked.to == TRANSFORMERS else flatten_config(config)
    plan = {name: (entry.kind, entry.shape) for name, entry in weights.items()}
    with model_folder.building(asked.folder) as folder:
        with Tracks(console)("copying tensors", len(plan)) as advance:
            model_folder.write_weights(
                folder, plan, lambda name: weights[name].data(), progress=advance
            )
        model_folder.copy_rest(source, folder)
        model_folder.write_config(laid, folder)
    how = "is as it was" if laid == config else "was laid out anew"
    console.print(f"config   {how}; {len(plan)} tensors are byte for byte the same")
    return f"python scripts/evaluate.py --model_path {asked.folder} --benchmarks scenes-vsr"
