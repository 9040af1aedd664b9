"""Fetching over https: whose certificate counts, and misbehaviour behind one."""

import ipaddress
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from vlmtune.data.fetch import FetchError, Limits, fetch_picture

HERE = "127.0.0.1"


@pytest.fixture
def trust(certificates: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates / "authority.pem"))


def fetch(web: Any, path: str, *, host: str = "pictures.example", **more: Any) -> bytes:
    settings = {
        "limits": Limits(bytes=200_000, seconds=60, attempts=1),
        "may_reach": lambda found: found == ipaddress.ip_address(HERE),
        "resolve": lambda *_: [HERE],
        **more,
    }
    return fetch_picture(f"https://{host}:{web.port}/{path}", **settings)


def test_a_picture_is_fetched_from_a_server_that_the_trusted_authority_vouches_for(
    secure_web: Any, trust: ssl.SSLContext
) -> None:
    assert fetch(secure_web, "good", trust=trust).startswith(b"\x89PNG")
    assert f"Host: pictures.example:{secure_web.port}" in secure_web.headers[0]
    assert fetch(secure_web, "moved", trust=trust).startswith(b"\x89PNG")


def test_an_authority_that_nobody_passes_is_not_trusted(secure_web: Any) -> None:
    with pytest.raises(FetchError, match="certificate is not valid") as caught:
        fetch(secure_web, "good")
    assert not caught.value.again
    assert not secure_web.asked


def test_a_certificate_for_another_name_is_refused(secure_web: Any, trust: ssl.SSLContext) -> None:
    with pytest.raises(FetchError, match=r"certificate is not valid \(Hostname mismatch"):
        fetch(secure_web, "good", host="other.example", trust=trust)
    assert not secure_web.asked


def test_a_server_without_encryption_is_not_asked(web: Any, trust: ssl.SSLContext) -> None:
    with pytest.raises(FetchError, match=r"not done in 5 seconds|no encrypted connection"):
        fetch(web, "good", trust=trust, limits=Limits(seconds=5, attempts=1))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone", "status 404"),
        ("html", "not a picture but text/html"),
        ("cut", "cut off after"),
        ("huge", "larger than 200,000 bytes: 10000000000"),
        ("endless", "larger than 200,000 bytes"),
        ("private", "not on the open internet: 10.0.0.1"),
        ("loop", "more than 5 redirects"),
    ],
)
def test_misbehaviour_behind_encryption_gets_the_same_reasons(
    path: str, reason: str, secure_web: Any, trust: ssl.SSLContext
) -> None:
    def resolve(host: str, port: int) -> list[str]:
        return [HERE if host == "pictures.example" else host]

    with pytest.raises(FetchError, match=reason):
        fetch(secure_web, path, trust=trust, resolve=resolve)


@pytest.mark.parametrize("path", ["hang", "drip"])
def test_an_encrypted_fetch_ends_in_time(path: str, secure_web: Any, trust: ssl.SSLContext) -> None:
    start = time.perf_counter()
    with pytest.raises(FetchError, match=r"not done in 3 seconds|no encrypted connection"):
        fetch(secure_web, path, trust=trust, limits=Limits(seconds=3, attempts=1))
    assert time.perf_counter() - start < 30
