"""What scripts/evaluate.py does, once its command line is read."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

from vlmtune.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from vlmtune.config import RunConfig
    from vlmtune.evaluation.run import Prepared
    from vlmtune.evaluation.score import Result
    from vlmtune.protocols import Backend, Benchmark, Generator
    from vlmtune.types import JSON, Start

USUAL_BENCHMARKS = ("VSR", "CV-Bench")
USUAL_STYLE, USUAL_BACKEND = "direct", "auto"
USUAL_BATCH, USUAL_TOKENS = 32, 512
OUTPUT, COMPARE_OUTPUT = "eval_results", "eval_compare"

MODEL, PREDICTIONS, COMPARE = "--model_path", "--predictions", "--compare"
ALLOWED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        MODEL: (
            "model_path", "adapter_path", "benchmarks", "max_samples", "backend", "output_dir",
            "style", "protocol", "data", "image_folder", "seed", "batch", "max_tokens", "use_vllm",
        ),
        PREDICTIONS: (
            "predictions", "model_path", "benchmarks", "output_dir", "style", "protocol",
            "image_folder",
        ),
        COMPARE: ("compare", "output_dir", "seed"),
    }
)  # fmt: skip
"""Mode -> the flags that mean something in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for.

    Attributes:
        mode: A key of `ALLOWED`.
        given: Flag -> value, only those that were typed.
        held_out: The config whose `evaluation.datasets` are to be asked, or None.
    """

    mode: str
    given: Mapping[str, Any]
    held_out: "RunConfig | None" = None

    def get(self, flag: str, usual: Any = None) -> Any:
        """Take a flag's value, or the usual one."""
        return self.given.get(flag, usual)


class RowBar:
    """A progress bar over rows that knows how many were there already."""

    def __init__(self, console: "Console", prepared: "Prepared") -> None:
        from rich import progress

        self.resumed: int | None = None
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task(prepared.benchmark.name, total=len(prepared.rows))

    def __enter__(self) -> "RowBar":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def advance(self, count: int) -> None:
        """Count rows; the first call says how many an earlier run had answered."""
        if self.resumed is None:
            self.resumed = count
        self._bar.advance(self._task, count)


def run(request: Request) -> int:
    """Do what was asked for.

    Returns:
        The exit code.

    Raises:
        VlmtuneError: If it cannot be done; the message says why.
    """
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    if request.mode == COMPARE:
        return _compare(request, console)
    if request.mode == PREDICTIONS:
        return _rescore(request, console)
    return _evaluate(request, console)


def _evaluate(request: Request, console: "Console") -> int:
    from vlmtune.backends.select import select
    from vlmtune.evaluation import run as running
    from vlmtune.evaluation import saved
    from vlmtune.evaluation.score import score

    folder: Path = request.get("output_dir", Path(OUTPUT))
    batch: int = request.get("batch", USUAL_BATCH)
    style: str = request.get("style", USUAL_STYLE)
    benchmarks = _benchmarks(request)
    _refuse_foreign(folder)
    selection = select(_backend(request))
    prepared = [_prepare(benchmark, request) for benchmark in benchmarks]
    start = _start(request)
    _announce(start, prepared, console, reason=selection.reason)
    generator = _generator(request, selection.backend, start)
    engine = f"{selection.backend.NAME}{' with vLLM' if request.get('use_vllm') else ''}"
    results, generated, started = [], 0, time.perf_counter()
    for one in prepared:
        settings = running.settings_of(
            one,
            generator,
            model=start.model,
            backend=engine,
            max_tokens=request.get("max_tokens", USUAL_TOKENS),
        )
        place = folder / saved.folder_name(one.benchmark.name)
        with RowBar(console, one) as bar:
            answers = running.collect(
                one, generator, settings, folder=place, batch=batch, progress=bar.advance
            )
        generated += len(answers) - (bar.resumed or 0)
        results.append(score(one.benchmark, answers, style=style, protocol=one.protocol))
    facts = _facts(
        name=_called(start),
        path=generator.model.path,
        parameters=generator.model.parameters,
        architecture=generator.model.architecture,
        backend=engine,
        style=style,
    )
    facts |= {
        "seed": request.get("seed", 0),
        "seconds": time.perf_counter() - started,
        "generated": generated,
    }
    return _finish(folder, facts, results, console)


def _backend(request: Request) -> str:
    asked = str(request.get("backend", USUAL_BACKEND))
    if not request.get("use_vllm"):
        return asked
    if asked not in ("pytorch", USUAL_BACKEND):
        raise ConfigError(f"--use_vllm belongs to backend pytorch, not {asked}; leave one out")
    return "pytorch"


def _generator(request: Request, backend: "Backend", start: "Start") -> "Generator":
    batch: int = request.get("batch", USUAL_BATCH)
    if not request.get("use_vllm"):
        return backend.load_generator(start.model, batch_rows=batch, adapter=start.adapter)
    from vlmtune.backends.pytorch import load_vllm

    return load_vllm(start.model, batch_rows=batch, adapter=start.adapter)


def _rescore(request: Request, console: "Console") -> int:
    from vlmtune.evaluation import run as running
    from vlmtune.evaluation import saved
    from vlmtune.evaluation.score import score

    (benchmark,) = _benchmarks(request)
    path: Path = request.get("predictions")
    folder: Path = request.get("output_dir", Path(OUTPUT))
    _refuse_foreign(folder)
    told = saved.read_settings(path.parent)
    style: str = request.get("style", told.get("style", USUAL_STYLE))
    protocol: str = told.get("protocol", "unstated")
    if "protocol" in request.given:
        protocol = running.choose_protocol(benchmark, request.get("protocol"), style=style)
    answers = saved.read_predictions(path, benchmark, image_folder=request.get("image_folder"))
    console.print(
        f"Grading {len(answers)} saved answers to {benchmark.name} in {path}, style {style}",
        markup=False,
    )
    facts = _facts(
        name=request.get("model_path", told.get("model", f"saved answers in {path.name}")),
        backend=told.get("backend", "none"),
        style=style,
    )
    facts |= {"predictions": str(path), "seconds": 0.0, "generated": 0}
    result = score(benchmark, answers, style=style, protocol=protocol)
    return _finish(folder, facts, [result], console)


def _compare(request: Request, console: "Console") -> int:
    from vlmtune.evaluation import compare
    from vlmtune.reports import evaluation_files as files

    folder: Path = request.get("output_dir", Path(COMPARE_OUTPUT))
    files.refuse_foreign(folder, ours=files.COMPARISON)
    before, after = (compare.load(path) for path in request.get("compare"))
    found = compare.compare(before, after, seed=request.get("seed", 0))
    page = files.write_comparison(folder, found)
    console.print((folder / "compare.md").read_text(encoding="utf-8"), markup=False)
    console.print(f"Written to {folder}; open {page}", markup=False)
    return 0


def _benchmarks(request: Request) -> list["Benchmark"]:
    from vlmtune import discovery

    found: dict[str, Benchmark] = {}
    names = request.get("benchmarks", USUAL_BENCHMARKS)
    if request.held_out is not None:
        from vlmtune.evaluation.held_out import load_held_out

        names = request.get("benchmarks", ())
        seed, count = request.get("seed", 0), request.get("max_samples")
        for one in load_held_out(request.held_out, seed=seed, count=count):
            found[one.name] = one
    for name in names:
        benchmark: Benchmark = discovery.load("benchmark", name).BENCHMARK
        found[benchmark.name] = benchmark
    flag = PREDICTIONS if request.mode == PREDICTIONS else "--data"
    if flag[2:] in request.given and len(found) > 1:
        raise ConfigError(
            f"{flag} is the file of one benchmark; name that one with --benchmarks, "
            f"not {', '.join(found)}"
        )
    return list(found.values())


def _prepare(benchmark: "Benchmark", request: Request) -> "Prepared":
    from vlmtune.evaluation import run as running
    from vlmtune.types import RowSource

    wanted: int | None = request.get("max_samples")
    source = RowSource(
        path=request.get("data"),
        image_folder=request.get("image_folder"),
        seed=request.get("seed", 0),
        count=wanted,
    )
    return running.prepare(
        benchmark,
        source,
        protocol=request.get("protocol"),
        style=request.get("style", USUAL_STYLE),
        max_samples=wanted,
    )


def _start(request: Request) -> "Start":
    """Find out what is asked: a model, or one that carries what a training left."""
    from vlmtune.training import lineage

    adapter = request.get("adapter_path")
    if "model_path" not in request.given:
        return lineage.asked(adapter)
    return lineage.asked(request.get("model_path"), adapter=adapter)


def _called(start: "Start") -> str:
    return start.model if start.adapter is None else f"{start.model} with {start.adapter}"


def _announce(
    start: "Start", prepared: Sequence["Prepared"], console: "Console", *, reason: str
) -> None:
    console.print(
        f"Evaluating {_called(start)} on {len(prepared)} "
        f"benchmark{'s' if len(prepared) > 1 else ''}, backend {reason}",
        markup=False,
    )
    for one in prepared:
        what = one.benchmark.protocols[one.protocol]
        console.print(
            f"  {one.benchmark.name}: {len(one.rows)} of {one.total} rows, style {one.style}, "
            f"protocol {one.protocol} ({what})",
            markup=False,
        )


def _facts(
    *,
    name: str,
    backend: str,
    style: str,
    path: str = "",
    parameters: int = 0,
    architecture: str = "",
) -> dict[str, "JSON"]:
    import vlmtune

    return {
        "vlmtune": vlmtune.__version__,
        "model": {
            "name": name,
            "path": path,
            "parameters": parameters,
            "architecture": architecture,
        },
        "backend": backend,
        "style": style,
    }


def _finish(
    folder: Path,
    facts: Mapping[str, "JSON"],
    results: Sequence["Result"],
    console: "Console",
) -> int:
    from vlmtune.reports import evaluation_files as files

    report = {**facts, "benchmarks": {result.name: result.report for result in results}}
    page = files.write_evaluation(folder, report, results)
    for result in results:
        console.print(_line(result), markup=False)
        for note in result.report["notes"]:
            console.print(f"  note: {note}", markup=False, style="yellow")
    console.print(f"Written to {folder}; open {page}", markup=False)
    console.print(
        f"Next: python scripts/evaluate.py --compare {folder} ANOTHER", markup=False, style="dim"
    )
    return 0


def _line(result: "Result") -> str:
    one = result.report
    low, high = one["wilson95"]
    text = (
        f"{result.name}: {100 * one['accuracy']:.1f} % of {one['n']} "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f}), {one['unreadable']} unreadable"
    )
    if one["missing"]:
        text += f", {one['missing']} without a picture"
    score = one["official"].get("cv_bench") if "official_raw" in one else None
    return f"{text}, official score {100 * score:.1f}" if score is not None else text


def _refuse_foreign(folder: Path) -> None:
    from vlmtune import discovery
    from vlmtune.reports import evaluation_files as files

    answers = discovery.available("benchmark")
    # A benchmark of the user's own keeps its answers in a folder that says what it is.
    own = [place.parent.name for place in folder.glob(f"*{os.sep}settings.json")]
    files.refuse_foreign(folder, ours=[*files.EVALUATION, *answers, *own])
