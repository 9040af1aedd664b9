"""Fetch many pictures into the cache: side by side, resumable, every address accounted for.

The manifest is JSON Lines beside the dataset's other files, one line an address:

    {"address": "http://.../000000372029.jpg", "status": "kept", "bytes": 81230}
    {"address": "http://.../gone.jpg", "status": "failed", "reason": "status 404", "again": false}

While pictures come in, lines are appended; at the end, and when the next run starts, the file is
written anew under another name and renamed. A picture that cannot be had is written down and left
out: nothing ever stands in for it.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vlmtune.data import store
from vlmtune.data.fetch import FetchError, fetch_picture
from vlmtune.errors import ConfigError, DataError

HOPELESS = 40
"""So many failures without a single success mean that the network is at fault, not the pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one address.

    Attributes:
        kept: Whether the picture lies in the cache.
        bytes: Its size, 0 when it was not kept.
        reason: Why it was not kept, or "".
        again: Whether a later run should try once more.
    """

    kept: bool
    bytes: int = 0
    reason: str = ""
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureReport:
    """What became of all addresses.

    Attributes:
        total: Different addresses asked for.
        kept: Pictures that lie in the cache now.
        fetched: Those that this run brought.
        bytes: Their size.
        reasons: How many each reason cost, most frequent first.
    """

    total: int
    kept: int
    fetched: int
    bytes: int
    reasons: Mapping[str, int]

    def line(self) -> str:
        """Say it in one line."""
        text = f"{self.kept} of {self.total} pictures kept"
        if self.fetched:
            text += f", {self.fetched} of them new ({self.bytes / 1e6:,.1f} MB)"
        causes = ", ".join(f"{why} ({count})" for why, count in list(self.reasons.items())[:6])
        return f"{text}; missing: {causes}" if causes else text


def fetch_pictures(
    addresses: Iterable[str],
    *,
    cache: Path,
    manifest: Path,
    workers: int = 16,
    retry_failed: bool = False,
    fetch: Callable[[str], bytes] = fetch_picture,
    progress: Callable[[Outcome], None] | None = None,
) -> PictureReport:
    """Fetch every picture that is not in the cache yet.

    Args:
        addresses: Where they lie; repeats are fetched once.
        cache: From `store.cache_folder`.
        manifest: The file that says what became of each address.
        workers: Fetches side by side, 1 to 64.
        retry_failed: Try addresses again whose failure was final.
        fetch: Address -> encoded picture; raises FetchError.
        progress: Called once an address, with what became of it.

    Returns:
        The report; the manifest holds the same, address by address.

    Raises:
        ConfigError: If `workers` is out of range.
        DataError: If the cache cannot be written, or the first `HOPELESS` fetches all fail because
            nothing answers.
    """
    if not 1 <= workers <= 64:
        raise ConfigError(f"--workers is {workers}; use 1 to 64")
    known = read_manifest(manifest)
    tally = _Tally()
    wanted = (address for address in dict.fromkeys(addresses))
    with _journal(manifest, known) as journal:
        for address, outcome, fresh in _outcomes(
            wanted, known, cache=cache, workers=workers, retry_failed=retry_failed, fetch=fetch
        ):
            known[address] = outcome
            tally.add(outcome, fresh=fresh)
            if fresh:
                journal.write(_line(address, outcome))
                journal.flush()
            if progress is not None:
                progress(outcome)
            tally.refuse_hopeless()
    _rewrite(manifest, known)
    return tally.report()


def read_manifest(path: Path) -> dict[str, Outcome]:
    """Read what became of each address; of several lines the last counts.

    A last line that was cut off when a run was killed is left out, as if it had not been tried.

    Raises:
        DataError: If any other line is not one of ours.
    """
    known: dict[str, Outcome] = {}
    if not path.is_file():
        return known
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                known[entry["address"]] = Outcome(
                    kept=entry["status"] == "kept",
                    bytes=int(entry.get("bytes", 0)),
                    reason=str(entry.get("reason", "")),
                    again=bool(entry.get("again", False)),
                )
            except (ValueError, KeyError, TypeError) as error:  # noqa: PERF203 (told by line)
                if not line.endswith(b"\n"):
                    break
                raise DataError(
                    f"manifest {path} line {number} cannot be read; delete the file, and the next "
                    "run looks every picture up in the cache"
                ) from error
    return known


def _outcomes(
    addresses: Iterator[str],
    known: Mapping[str, Outcome],
    *,
    cache: Path,
    workers: int,
    retry_failed: bool,
    fetch: Callable[[str], bytes],
) -> Iterator[tuple[str, Outcome, bool]]:
    """Yield address, outcome, and whether this run found it out."""
    running: dict[Future[Outcome], str] = {}
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="pictures")
    try:
        while True:
            for address in itertools.islice(addresses, workers * 4 - len(running)):
                settled = _settled(address, known.get(address), cache=cache, retry=retry_failed)
                if settled is not None:
                    yield address, settled, address not in known
                else:
                    running[pool.submit(_keep, address, cache=cache, fetch=fetch)] = address
            if not running:
                # The window held settled addresses only; stop when there are no more at all.
                following = next(addresses, None)
                if following is None:
                    return
                addresses = itertools.chain((following,), addresses)
                continue
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result(), True
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _settled(address: str, earlier: Outcome | None, *, cache: Path, retry: bool) -> Outcome | None:
    path = store.at_address(address, cache=cache)
    if path.is_file():
        return Outcome(kept=True, bytes=path.stat().st_size)
    if earlier is None or earlier.kept or earlier.again or retry:
        return None
    return earlier


def _keep(address: str, *, cache: Path, fetch: Callable[[str], bytes]) -> Outcome:
    try:
        data = fetch(address)
    except FetchError as error:
        return Outcome(kept=False, reason=str(error), again=error.again)
    store.write_whole(store.at_address(address, cache=cache), data)
    return Outcome(kept=True, bytes=len(data))


class _Tally:
    """Counts outcomes."""

    def __init__(self) -> None:
        self.total = self.kept = self.fetched = self.bytes = self.unanswered = 0
        self.reasons: Counter[str] = Counter()

    def add(self, outcome: Outcome, *, fresh: bool) -> None:
        """Count one picture; those that an earlier run fetched are not fresh."""
        self.total += 1
        self.kept += outcome.kept
        if fresh and outcome.kept:
            self.fetched += 1
            self.bytes += outcome.bytes
        if not outcome.kept:
            self.reasons[_cause(outcome.reason)] += 1
            self.unanswered += fresh and outcome.again

    def refuse_hopeless(self) -> None:
        """Stop where the first pictures all went unanswered: the network is missing, not a picture.

        Raises:
            DataError: If they did.
        """
        if self.fetched == 0 and self.unanswered >= HOPELESS:
            cause = self.reasons.most_common(1)[0][0]
            raise DataError(
                f"nothing can be fetched: the first {self.unanswered} pictures all failed, most "
                f"for: {cause}; check the network and run the command again, which goes on here"
            )

    def report(self) -> PictureReport:
        """Sum up, with the most frequent reason first."""
        return PictureReport(
            total=self.total,
            kept=self.kept,
            fetched=self.fetched,
            bytes=self.bytes,
            reasons=dict(self.reasons.most_common()),
        )


def _cause(reason: str) -> str:
    """Cut a reason to what many addresses have in common: no host, no number of bytes."""
    common = re.split(r": | \(", reason, maxsplit=1)[0]
    return re.sub(r" '[^']*'|after [\d,]+ of [\d,]+ bytes", "", common).strip()[:80]


def _journal(manifest: Path, known: Mapping[str, Outcome]) -> IO[str]:
    """Open the manifest for appending, after a torn last line is gone."""
    _rewrite(manifest, known)
    return manifest.open("a", encoding="utf-8")


def _rewrite(manifest: Path, known: Mapping[str, Outcome]) -> None:
    lines = [_line(address, known[address]) for address in known]
    store.write_whole(manifest, "".join(lines).encode())


def _line(address: str, outcome: Outcome) -> str:
    entry: dict[str, object] = {"address": address, "status": "kept" if outcome.kept else "failed"}
    if outcome.kept:
        entry["bytes"] = outcome.bytes
    else:
        entry |= {"reason": outcome.reason, "again": outcome.again}
    return json.dumps(entry) + "\n"
