"""Fetching a picture: every way in which a server, a name or a redirect can misbehave."""

import ipaddress
import time
from typing import Any

import pytest

from vlmtune.data.fetch import FetchError, Limits, fetch_picture, is_public

LOCAL = ipaddress.ip_address("127.0.0.1")
QUICK = Limits(bytes=200_000, seconds=5, pixels=1_000_000, attempts=1)


def only_here(address: Any) -> bool:
    """Tests may reach their own server; nothing in a config can say so."""
    return address == LOCAL


def fetch(address: str, **more: Any) -> bytes:
    settings = {"limits": QUICK, "may_reach": only_here, "sleep": lambda _: None, **more}
    return fetch_picture(address, **settings)


@pytest.mark.parametrize("path", ["good", "untyped", "octets", "moved", "spaced"])
def test_a_picture_is_fetched(path: str, web: Any) -> None:
    assert fetch(web.at(path)).startswith(b"\x89PNG")
    assert "Accept-Encoding: identity" in web.headers[0]
    assert f"Host: 127.0.0.1:{web.port}" in web.headers[0]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone", "status 404"),
        ("forbidden", "status 403"),
        ("broken", "status 500"),
        ("busy", "status 429"),
        ("html", "not a picture but text/html"),
        ("lie", "not an image"),
        ("cut", "cut off after"),
        ("cut/jpeg", "image is damaged"),
        ("chunk", "connection broke"),
        ("empty", "body is empty"),
        ("huge", "larger than 200,000 bytes: 10000000000"),
        ("endless", "larger than 200,000 bytes"),
        ("gzip", r"body is compressed \(gzip\)"),
        ("bomb", "image is too large"),
        ("private", "not on the open internet: 10.0.0.1"),
        ("metadata", "not on the open internet: 169.254.169.254"),
        ("file", "only http and https are fetched, not 'file'"),
        ("loop", "more than 5 redirects"),
        ("nowhere", "status 302 leads nowhere"),
        ("noise", "connection broke"),
        ("header", "connection broke"),
        ("", "connection broke"),
    ],
)
def test_a_server_that_misbehaves_gets_a_reason(path: str, reason: str, web: Any) -> None:
    with pytest.raises(FetchError, match=reason):
        fetch(web.at(path))


@pytest.mark.parametrize("path", ["hang", "drip", "drip/header"])
def test_a_fetch_ends_in_time_however_slowly_it_drips(path: str, web: Any) -> None:
    start = time.perf_counter()
    with pytest.raises(FetchError, match=r"not done in 0\.4 seconds"):
        fetch(web.at(path), limits=Limits(seconds=0.4, attempts=1))
    # The watchdog is a thread: a busy machine may let it wait.
    assert time.perf_counter() - start < 20


def test_a_failure_that_may_pass_is_tried_again(web: Any) -> None:
    waits: list[float] = []
    limits = Limits(attempts=3, backoff=0.5)
    assert fetch(web.at("again"), limits=limits, sleep=waits.append).startswith(b"\x89PNG")
    assert waits == [0.5, 1.0]
    with pytest.raises(FetchError, match="status 404"):
        fetch(web.at("gone"), limits=limits)
    assert web.asked["gone"] == 1


def test_the_server_may_ask_for_patience_within_bounds(web: Any) -> None:
    waits: list[float] = []
    with pytest.raises(FetchError, match="status 429"):
        fetch(web.at("busy"), limits=Limits(attempts=3, longest_wait=5), sleep=waits.append)
    assert waits == [5, 5]
    assert web.asked["busy"] == 3


def test_a_name_with_one_private_address_is_refused(web: Any) -> None:
    def both(host: str, port: int) -> list[str]:
        return ["93.184.216.34", "127.0.0.1"]

    with pytest.raises(FetchError, match=r"host 'a.example' is not on the open internet: 127"):
        fetch_picture("http://a.example/x.png", resolve=both, limits=QUICK)


def test_a_name_is_looked_up_once_and_its_checked_address_is_used(web: Any) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    address = f"http://rebinding.example:{web.port}/good"
    assert fetch(address, resolve=lambda *_: next(answers)).startswith(b"\x89PNG")
    assert f"Host: rebinding.example:{web.port}" in web.headers[0]
    # A redirect is a new question, and its answer is checked again.
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    with pytest.raises(FetchError, match=r"not on the open internet: 10\.0\.0\.1"):
        fetch(f"http://a.example:{web.port}/moved", resolve=lambda *_: next(answers))


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/x",
        "http://127.1/x",
        "http://2130706433/x",
        "http://0/x",
        "http://[::1]/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/x",
        "http://100.100.100.200/x",
        "http://192.0.0.192/x",
        "http://168.63.129.16/x",
        "http://localhost/x",
    ],
)
def test_addresses_inside_the_network_are_never_asked(address: str) -> None:
    with pytest.raises(FetchError, match="is not on the open internet"):
        fetch_picture(address, limits=QUICK)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ftp://a.example/x", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("gopher://a.example/x", "only http and https"),
        ("http:///x", "names no host"),
        ("http://a.example:0/x", "port 0"),
        ("http://a.example:99999/x", "address cannot be read"),
        ("http://[::1/x", "address cannot be read"),
        ("http://user:word@a.example/x", "user name or password"),
        ("http://a.example/x\r\nHost: b", "control characters"),
        ("http://a.example/" + "x" * 3000, "too long"),
        ("http://" + "a" * 70 + ".example/x", "host name is not valid"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused(address: str, reason: str) -> None:
    def nobody(host: str, port: int) -> list[str]:
        raise AssertionError("no name is looked up")

    with pytest.raises(FetchError, match=reason):
        fetch_picture(address, limits=QUICK, resolve=nobody)


def test_a_host_that_nobody_knows_or_that_does_not_answer(web: Any) -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    with pytest.raises(FetchError, match=r"host 'a\.example' is not found") as caught:
        fetch("http://a.example/x", resolve=unknown)
    assert caught.value.again
    with pytest.raises(FetchError, match="has no address"):
        fetch("http://a.example/x", resolve=lambda *_: [])
    with pytest.raises(FetchError, match="no connection"):
        fetch("http://127.0.0.1:9/x")
    with pytest.raises(FetchError, match=r"no encrypted connection|certificate is not valid"):
        fetch(web.at("good").replace("http:", "https:"))


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("64:ff9b::5db8:d822", True),
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("192.0.0.10", False),
        ("198.18.0.1", False),
        ("fec0::1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("240.0.0.1", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::7f00:1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public
