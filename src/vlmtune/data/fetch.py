"""Fetch one picture from an address: bounded in size and time, checked, never from a private place.

Rows name addresses that nobody has vetted. So each host name is resolved once, every address that
it has must be public, and the connection goes to the address that was checked: a name that changes
its answer in between, or a redirect, leads nowhere else. Proxies are not used, since a proxy would
resolve the name again. Only http and https are spoken, no cookie or password is sent, compressed
bodies are refused unread, and a watchdog ends a fetch that takes too long however slowly it drips.
Only looking the name up is left to the system's own patience.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from vlmtune import __version__
from vlmtune.data.images import BytesImage
from vlmtune.errors import DataError

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver: TypeAlias = Callable[[str, int], Sequence[str]]

# Python versions differ in what they call global, and one cloud serves its machines' secrets from
# an address that is: the first of these.
_NEVER = tuple(
    ipaddress.ip_network(block)
    for block in (
        *("168.63.129.16/32", "0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24"),
        *("192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"),
        *("64:ff9b:1::/48", "100::/64", "2001:db8::/32", "5f00::/16", "fc00::/7", "fec0::/10"),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})
_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")
_PIECE = 64 * 1024
_LONGEST_ADDRESS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a fetch may cost.

    Attributes:
        bytes: Longest body.
        seconds: Longest time from connecting to the last byte, redirects included.
        pixels: Most pixels of the picture.
        attempts: Tries where trying again can help.
        redirects: Redirects followed.
        backoff: Seconds before the second try; doubled before each further one.
        longest_wait: Most seconds before a try, whatever the server asks for.
    """

    bytes: int = 20 * 1024 * 1024
    seconds: float = 30.0
    pixels: int = 50_000_000
    attempts: int = 3
    redirects: int = 5
    backoff: float = 1.0
    longest_wait: float = 30.0


class FetchError(Exception):
    """Why a picture could not be fetched.

    Attributes:
        again: Whether another try may succeed.
        wait: Seconds that the server asked to wait, or 0.
    """

    def __init__(self, reason: str, *, again: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.again = again
        self.wait = wait


def is_public(address: IPAddress) -> bool:
    """Whether an address belongs to the open internet.

    Loopback, private, link-local, shared, multicast and reserved ones do not, nor do IPv6
    addresses that wrap such an IPv4 address, nor those from which clouds serve secrets.
    """
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(wrapped)
        if address.teredo is not None:
            # It leads to somebody's machine behind a router.
            return False
    usable = not (address.is_multicast or address.is_reserved)
    return address.is_global and usable and not any(address in block for block in _NEVER)


def fetch_picture(
    address: str,
    *,
    limits: Limits | None = None,
    may_reach: Callable[[IPAddress], bool] = is_public,
    resolve: Resolver | None = None,
    trust: ssl.SSLContext | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> bytes:
    """Fetch a picture and decode it once.

    Args:
        address: Where it lies.
        limits: What the fetch may cost.
        may_reach: Which machines may be asked. Nothing in a config reaches this.
        resolve: Looks a host name up; by default the system does.
        trust: Whose certificates count; by default those that the system trusts.
        sleep: Waits between tries.

    Returns:
        The encoded picture; it decodes to its end.

    Raises:
        FetchError: If it cannot be had; the message says why.
    """
    limits = limits or Limits()
    door = _Door(may_reach=may_reach, resolve=resolve or _system, trust=trust)
    for attempt in range(1, limits.attempts + 1):
        try:
            return _once(address, limits=limits, door=door)
        except FetchError as error:  # noqa: PERF203 (each try is judged by itself)
            if not error.again or attempt == limits.attempts:
                raise
            sleep(min(limits.longest_wait, max(error.wait, limits.backoff * 2 ** (attempt - 1))))
    raise AssertionError("limits.attempts is at least 1")


def address_problem(address: str) -> str:
    """Say why an address cannot be fetched, looking nothing up; "" when it may be tried."""
    if len(address) > _LONGEST_ADDRESS:
        return f"address is too long: {len(address)} characters"
    if any(ord(sign) <= 32 or ord(sign) == 127 for sign in address):
        return "address holds white space or control characters"
    try:
        parts = urllib.parse.urlsplit(address)
        port = parts.port
    except ValueError as error:
        return f"address cannot be read ({error})"
    if parts.scheme not in ("http", "https"):
        return f"only http and https are fetched, not '{parts.scheme[:20]}'"
    if not parts.hostname:
        return "address names no host"
    if port == 0:
        return "port 0 does not exist"
    if parts.username is not None or parts.password is not None:
        return "address holds a user name or password"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Door:
    """Who may be asked, who finds them, and who vouches for them."""

    may_reach: Callable[[IPAddress], bool]
    resolve: Resolver
    trust: ssl.SSLContext | None


@dataclass(slots=True)
class _Line:
    """An open connection, which the watchdog may cut."""

    socket: socket.socket
    cut: bool = False

    def hang_up(self) -> None:
        """End the transfer from another thread; `cut` says why the reader gets no more."""
        self.cut = True
        try:
            # The plain method: an encrypted socket's own would forget its state under the reader.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)
        except OSError:
            # It was never connected, or the other side was faster.
            return


def _once(address: str, *, limits: Limits, door: _Door) -> bytes:
    end = time.monotonic() + limits.seconds
    for _ in range(limits.redirects + 1):
        address = address.strip().replace(" ", "%20")
        if problem := address_problem(address):
            raise FetchError(problem)
        parts = urllib.parse.urlsplit(address)
        found = _ask(parts, door=door, limits=limits, end=end)
        if isinstance(found, bytes):
            return _decodable(found, address=address, limits=limits)
        address = urllib.parse.urljoin(address, found)
    raise FetchError(f"more than {limits.redirects} redirects")


def _place(parts: urllib.parse.SplitResult) -> tuple[str, int]:
    host = parts.hostname or ""
    try:
        ascii_host = host if ":" in host else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise FetchError(f"host name is not valid: {host[:80]!r}") from None
    return ascii_host, parts.port or (443 if parts.scheme == "https" else 80)


def _system(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _checked(host: str, port: int, *, door: _Door) -> list[str]:
    """Look a host up once; all of its addresses must be allowed, or none is used."""
    try:
        found = list(door.resolve(host, port))
    except (OSError, UnicodeError) as error:
        raise FetchError(f"host '{host}' is not found ({error})", again=True) from error
    if not found:
        raise FetchError(f"host '{host}' has no address")
    for text in found:
        address = ipaddress.ip_address(text.partition("%")[0])
        if not door.may_reach(address):
            raise FetchError(f"host '{host}' is not on the open internet: {address}")
    return found


def _ask(
    parts: urllib.parse.SplitResult, *, door: _Door, limits: Limits, end: float
) -> bytes | str:
    """Send one request; give the body, or where a redirect leads."""
    host, port = _place(parts)
    with _connected(parts, door=door, end=end) as line:
        connection = http.client.HTTPConnection(host, port)
        connection.sock = line.socket
        try:
            connection.request("GET", _target(parts), headers=_headers(parts, host=host))
            found = _answered(connection.getresponse(), limits=limits)
        except (OSError, ValueError, http.client.HTTPException, FetchError) as error:
            if isinstance(error, FetchError) and not line.cut:
                raise
            what = " ".join(str(error).split())[:100] or type(error).__name__
            # On a busy machine the socket's own patience may end before the watchdog wakes up.
            late = line.cut or isinstance(error, TimeoutError)
            reason = (
                f"not done in {limits.seconds:g} seconds" if late else f"connection broke ({what})"
            )
            raise FetchError(reason, again=True) from error
        if line.cut:
            # A body that ends with its connection looks whole when the watchdog ended it.
            raise FetchError(f"not done in {limits.seconds:g} seconds", again=True)
        return found


def _target(parts: urllib.parse.SplitResult) -> str:
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    return urllib.parse.quote(path, safe="/%:;=?&,+$!*'()@~[]")


def _headers(parts: urllib.parse.SplitResult, *, host: str) -> dict[str, str]:
    name = f"[{host}]" if ":" in host else host
    return {
        "Host": name if parts.port is None else f"{name}:{parts.port}",
        "User-Agent": f"vlmtune/{__version__} (dataset pictures)",
        "Accept": "image/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


@contextmanager
def _connected(parts: urllib.parse.SplitResult, *, door: _Door, end: float) -> Iterator[_Line]:
    host, port = _place(parts)
    checked = _checked(host, port, door=door)
    left = end - time.monotonic()
    if left <= 0:
        raise FetchError("no time left", again=True)
    line = _Line(_dial(checked, port=port, seconds=left))
    watchdog = threading.Timer(max(0.0, end - time.monotonic()), line.hang_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        if parts.scheme == "https":
            _encrypt(line, host=host, trust=door.trust)
        yield line
    finally:
        watchdog.cancel()
        line.socket.close()


def _dial(checked: Sequence[str], *, port: int, seconds: float) -> socket.socket:
    problem: OSError | None = None
    for address in checked[:4]:
        try:
            return socket.create_connection((address, port), timeout=seconds)
        except OSError as error:  # noqa: PERF203 (the next address may answer)
            problem = error
    raise FetchError(f"no connection ({problem})", again=True) from problem


def _encrypt(line: _Line, *, host: str, trust: ssl.SSLContext | None) -> None:
    try:
        context = trust or ssl.create_default_context()
        line.socket = context.wrap_socket(
            line.socket, server_hostname=host, do_handshake_on_connect=False
        )
        line.socket.do_handshake()
    except ssl.SSLCertVerificationError as error:
        raise FetchError(f"certificate is not valid ({error.verify_message})") from error
    except (OSError, ValueError) as error:
        raise FetchError(f"no encrypted connection ({error})", again=True) from error


def _answered(answer: http.client.HTTPResponse, *, limits: Limits) -> bytes | str:
    headers = {name.lower(): value.strip() for name, value in answer.getheaders()}
    if answer.status in _REDIRECTS:
        target = headers.get("location", "")
        if not target:
            raise FetchError(f"status {answer.status} leads nowhere")
        return target
    if answer.status != 200:
        again = answer.status in _WORTH_RETRYING
        wait = headers.get("retry-after", "")
        seconds = float(wait) if wait.isascii() and wait.isdecimal() and len(wait) < 6 else 0.0
        raise FetchError(f"status {answer.status}", again=again, wait=seconds)
    _refuse_by_header(headers, limits=limits)
    return _body(answer, headers=headers, limits=limits)


def _refuse_by_header(headers: Mapping[str, str], *, limits: Limits) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and not kind.startswith(_TYPES):
        raise FetchError(f"not a picture but {kind[:60]}")
    if headers.get("content-encoding", "identity").lower() not in ("identity", ""):
        raise FetchError(f"body is compressed ({headers['content-encoding'][:20]})")
    claimed = headers.get("content-length", "")
    if claimed.isascii() and claimed.isdecimal() and int(claimed[:20]) > limits.bytes:
        raise FetchError(f"larger than {limits.bytes:,} bytes: {claimed[:20]}")


def _body(answer: http.client.HTTPResponse, *, headers: Mapping[str, str], limits: Limits) -> bytes:
    pieces = bytearray()
    while piece := answer.read(min(_PIECE, limits.bytes + 1 - len(pieces))):
        pieces += piece
        if len(pieces) > limits.bytes:
            raise FetchError(f"larger than {limits.bytes:,} bytes")
    claimed = headers.get("content-length", "")
    if claimed.isascii() and claimed.isdecimal() and len(pieces) != int(claimed):
        raise FetchError(f"cut off after {len(pieces):,} of {int(claimed):,} bytes", again=True)
    if not pieces:
        raise FetchError("body is empty")
    return bytes(pieces)


def _decodable(data: bytes, *, address: str, limits: Limits) -> bytes:
    try:
        BytesImage(address[:200], data, max_pixels=limits.pixels).open()
    except DataError as error:
        raise FetchError(str(error).partition("; ")[0]) from error
    return data
