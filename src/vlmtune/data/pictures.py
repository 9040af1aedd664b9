"""From a row's pictures to files: bytes are kept in the cache, addresses are fetched into it.

Only rows in use get here, so a table of a million pictures costs the disk no more than the rows
that a run asks for, and memory nothing.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from vlmtune.data import store
from vlmtune.data.cells import shorten
from vlmtune.data.fetch import FetchError, Limits, fetch_picture
from vlmtune.data.images import AddressImage, BytesImage, FileImage
from vlmtune.errors import DataError
from vlmtune.types import Example, ImageRef

Policy: TypeAlias = Literal["fetch", "cached", "refuse"]
PATIENCE = Limits(seconds=15, attempts=2)
"""What one picture may cost while a run is waiting for its rows."""
HOPELESS = 10
"""So many fetches without any answer mean that there is no network; no further one is tried."""


def fetch_now(address: str) -> bytes:
    """Fetch a picture with little patience.

    Raises:
        FetchError: If it cannot be had.
    """
    return fetch_picture(address, limits=PATIENCE)


@dataclass(slots=True, kw_only=True)
class Shelf:
    """Puts pictures into the cache.

    Attributes:
        cache: From `store.cache_folder`.
        policy: What to do with an address: fetch it, take it only when it is cached, refuse it.
        max_pixels: The run's limit, given to every picture.
        fetch: Address -> encoded picture; raises FetchError.
        failed: Addresses that could not be had, and why: each is tried once a run.
        unanswered: Fetches that nobody answered since the run began.
        answered: Whether any picture ever came.
        begun: Addresses that are being fetched ahead.
    """

    cache: Path
    policy: Policy
    max_pixels: int
    fetch: Callable[[str], bytes] = fetch_now
    failed: dict[str, str] = field(default_factory=dict)
    unanswered: int = 0
    answered: bool = False
    begun: dict[str, Future[bytes]] = field(default_factory=dict)

    def begin(self, address: str, pool: Executor) -> None:
        """Start to fetch what a row will soon ask for, unless it is there, or hopeless."""
        known = address in self.failed or address in self.begun or self._hopeless
        if not known and not store.at_address(address, cache=self.cache).is_file():
            self.begun[address] = pool.submit(self.fetch, address)

    @property
    def _hopeless(self) -> bool:
        return not self.answered and self.unanswered >= HOPELESS

    def settled(self, example: Example) -> Example:
        """Give the same row with every picture in a file.

        Raises:
            DataError: If a picture cannot be had; the message says why.
        """
        if not example.images:
            return example
        return replace(example, images=tuple(self._file(image) for image in example.images))

    def _file(self, image: ImageRef) -> ImageRef:
        if isinstance(image, FileImage):
            return replace(image, max_pixels=self.max_pixels)
        if isinstance(image, BytesImage):
            if not image.data:
                # Opening says what is wrong with it.
                image.open()
            path = store.by_content(image.data, cache=self.cache)
            return FileImage(str(path), max_pixels=self.max_pixels, origin=image.name)
        if isinstance(image, AddressImage):
            path = self._fetched(image.address)
            return FileImage(str(path), max_pixels=self.max_pixels, origin=image.address)
        return image

    def _fetched(self, address: str) -> Path:
        shown = shorten(address, limit=200)
        path = store.at_address(address, cache=self.cache)
        if path.is_file():
            return path
        if self.policy == "refuse":
            raise DataError(
                f"image is an address: {shown}; data.addresses is 'refuse', so download "
                "the picture and give the file's path"
            )
        if self.policy == "cached":
            raise DataError(
                f"image is not in the cache: {shown}; run scripts/download_datasets.py, "
                "or set data.addresses: fetch"
            )
        if address not in self.failed:
            if self._hopeless:
                raise DataError(
                    f"image is not tried: {shown}; none of the first {self.unanswered} addresses "
                    "answered, so check the network, or download the pictures ahead"
                )
            try:
                begun = self.begun.pop(address, None)
                data = self.fetch(address) if begun is None else begun.result()
                store.write_whole(path, data)
            except FetchError as error:
                self.failed[address] = str(error)
                self.unanswered += error.again
            else:
                self.answered = True
                return path
        raise DataError(
            f"image cannot be fetched: {shown} ({self.failed[address]}); correct the "
            "address, or give the file's path"
        )
