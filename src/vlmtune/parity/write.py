"""What scripts/write_parity.py does: both engines compute, their findings are compared, the page.

python scripts/write_parity.py                           both here, each in its own process
python scripts/write_parity.py --side mlx --folder F     one of them, into F
python scripts/write_parity.py --compare --folder F      the two files in F, wherever made
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vlmtune.errors import DataError, RunFailed, VlmtuneError
from vlmtune.parity import page, side
from vlmtune.parity.assignment import Size, tiny
from vlmtune.parity.lines import compare, curves, rounding

ENGINES = ("pytorch", "mlx")


def main(arguments: Sequence[str] | None = None, *, docs: Path) -> int:
    """Run the command.

    Args:
        arguments: Of the command line.
        docs: The folder that the page lies in.

    Returns:
        0 where all comparisons hold, 1 where one does not, 2 where the command cannot run.
    """
    parser = argparse.ArgumentParser(
        prog="write_parity.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where findings lie; a new one by default")
    parser.add_argument("--side", choices=ENGINES, help="let one engine compute, and stop")
    parser.add_argument("--compare", action="store_true", help="compute nothing, compare")
    chosen = parser.parse_args(arguments)
    try:
        return _run(chosen, docs)
    except VlmtuneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(chosen: argparse.Namespace, docs: Path) -> int:
    if chosen.side is not None:
        if chosen.folder is None:
            raise DataError("--side needs --folder, where its findings go")
        compute(chosen.side, chosen.folder)
        return 0
    if chosen.folder is not None:
        return _written(chosen.folder, docs, computed=chosen.compare)
    with tempfile.TemporaryDirectory() as folder:
        return _written(Path(folder), docs, computed=False)


def compute(engine: str, folder: Path, *, size: Size | None = None) -> None:
    """Let one engine compute the assignment in this process.

    Raises:
        DataError: If the random model, which the other engine writes, is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if engine == "mlx":
        from vlmtune.backends.mlx.blas import prefer_openblas

        prefer_openblas()
    if not tiny(folder).is_dir():
        if engine != "pytorch":
            raise DataError(
                f"{folder} has no {tiny(folder).name}; run --side pytorch first, which writes it"
            )
        from vlmtune.backends.pytorch.tiny import write
        from vlmtune.models.resolve import PICO_FOLDER

        write(PICO_FOLDER, tiny(folder))
    side.compute(
        engine,
        folder,
        size=size or Size(),
        say=lambda what: print(f"{engine}: {what}", flush=True),
    )


def _written(folder: Path, docs: Path, *, computed: bool) -> int:
    if not computed:
        for engine in ENGINES:
            _apart(engine, folder)
    one, other = (_findings(folder / f"{engine}.npz") for engine in ENGINES)
    names = ("PyTorch", "MLX")
    found = page.results(
        compare(one, other), curves(one, other, names=names), rounding(one, other, names=names)
    )
    (docs / "parity.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (docs / "parity.md").write_text(page.text(found), encoding="utf-8")
    (docs / "parity.svg").write_text(page.picture(found), encoding="utf-8")
    failed = [line for line in found["lines"] if not line["holds"]]
    for line in failed:
        print(f"{line['what']}: {line['measured']}, must be {line['bound']}", file=sys.stderr)
    print(f"{len(found['lines']) - len(failed)} of {len(found['lines'])} comparisons hold")
    print(f"wrote {docs / 'parity.md'}")
    return 1 if failed else 0


def _apart(engine: str, folder: Path) -> None:
    """Compute in a process of its own: importing one engine changes the libraries of the other."""
    source = str(Path(__file__).parents[2])
    paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "vlmtune.parity", "--side", engine, "--folder", str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    )
    if done.returncode:
        raise RunFailed(f"{engine} could not compute its side; what it said stands above")


def _findings(path: Path) -> side.Findings:
    if not path.is_file():
        raise DataError(f"{path} is missing; compute it with --side {path.stem}")
    with np.load(path) as file:
        return {name: file[name] for name in file.files}
