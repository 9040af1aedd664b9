"""The cache on disk: pictures by content, fetched pictures by address, downloads by name.

    ~/.cache/vlmtune/pictures/3f/3f2a...      what came inside a table, under its SHA-256
    ~/.cache/vlmtune/addresses/91/91bc...     what was fetched, under the SHA-256 of its address
    ~/.cache/vlmtune/datasets/rlhf_v/         what scripts/download_datasets.py brought

A file is written under another name and renamed, so that whatever lies here is whole.
"""

import hashlib
import os
import secrets
from pathlib import Path

from vlmtune.errors import DataError

VARIABLE = "VLMTUNE_CACHE"
"""Environment variable that names another place."""


def cache_folder(named: str | Path | None = None) -> Path:
    """Where the cache lies.

    Args:
        named: What the user asked for; without it VLMTUNE_CACHE, else the user's cache folder.
    """
    if named is not None:
        return Path(named).expanduser()
    if variable := os.environ.get(VARIABLE):
        return Path(variable).expanduser()
    general = os.environ.get("XDG_CACHE_HOME")
    return (Path(general) if general else Path.home() / ".cache") / "vlmtune"


def by_content(data: bytes, *, cache: Path) -> Path:
    """Keep a picture that came without a file; equal pictures share one.

    Args:
        data: The encoded picture.
        cache: From `cache_folder`.

    Raises:
        DataError: If the cache cannot be written.
    """
    name = hashlib.sha256(data).hexdigest()
    path = cache / "pictures" / name[:2] / name
    if not path.is_file():
        write_whole(path, data)
    return path


def at_address(address: str, *, cache: Path) -> Path:
    """Where a fetched picture lies, whether or not it has been fetched."""
    name = hashlib.sha256(address.encode(errors="surrogatepass")).hexdigest()
    return cache / "addresses" / name[:2] / name


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is never seen half written, and make its folders.

    Raises:
        DataError: If it cannot be written.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"cache cannot be written: {path} ({error.strerror or error}); free some space, or "
            f"name another place with data.cache_dir or {VARIABLE}"
        ) from error
