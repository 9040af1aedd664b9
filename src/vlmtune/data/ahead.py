"""Pictures of the next rows are fetched while this one is waited for.

    rows        1   2   3   4   5   6 ...          in their order, always
    fetched     [1  2  3  4] side by side, and 5 as soon as row 1 is taken

A table of addresses would otherwise cost a run a second or more for each row.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from vlmtune.data.images import AddressImage
from vlmtune.data.pictures import Shelf
from vlmtune.types import Example

WORKERS = 16
"""Fetches side by side, and rows read ahead at most."""


def ahead(rows: Iterable[Example], shelf: Shelf, *, most: int | None = None) -> Iterator[Example]:
    """Yield rows in their order; from the first address on, read some ahead and fetch for them.

    Args:
        rows: The rows of one source.
        shelf: Where their pictures will be looked for; what is under way is told to it.
        most: Rows that will be used at most; None is all.
    """
    depth = WORKERS if most is None else max(1, min(WORKERS, most))
    waiting: deque[Example] = deque()
    pool: ThreadPoolExecutor | None = None
    try:
        for row in rows:
            addresses = [one.address for one in row.images if isinstance(one, AddressImage)]
            if pool is None and addresses and shelf.policy == "fetch" and depth > 1:
                pool = ThreadPoolExecutor(max_workers=depth, thread_name_prefix="pictures")
            if pool is None:
                yield row
                continue
            for address in addresses:
                shelf.begin(address, pool)
            waiting.append(row)
            if len(waiting) >= depth:
                yield waiting.popleft()
        yield from waiting
    finally:
        if pool is not None:
            # Whoever stops reading must not wait for pictures that nobody will use.
            pool.shutdown(wait=False, cancel_futures=True)
