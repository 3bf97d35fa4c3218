"""Asking a web server that may be hostile: over https, and never for longer than was agreed, whatever it sends."""

import http.client
import io
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from cnnlab import __version__
from cnnlab.text import printable


def is_safe(url: str) -> bool:
    """Whether an address is https, or http on this machine."""
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname == "127.0.0.1")
    except ValueError:
        return False


def open_url(url: str, seconds: float, byte_range: str | None) -> Any:
    """The answer, once its headers are there: an `http.client.HTTPResponse` with `allow`.

    It must have come whole within `seconds`; `allow` gives it more.

    Raises:
        OSError, http.client.HTTPException, ValueError: no such answer came in time; reading raises them too.
    """
    request = urllib.request.Request(url, headers={"User-Agent": f"cnnlab/{__version__}"})
    if byte_range:
        request.add_header("Range", byte_range)
    return urllib.request.build_opener(_SafeRedirects, _Http, _Https).open(request, timeout=seconds)


class _Incoming(io.RawIOBase):
    """What a server sends, until the time is up: a socket's own limit begins anew with every byte."""

    def __init__(self, raw: Any, seconds: float) -> None:
        self._raw = raw
        self.allow(seconds)

    def allow(self, seconds: float) -> None:
        self._seconds, self._end = seconds, time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self._end:
            raise TimeoutError(f"too slow: little or nothing of use in {self._seconds:.0f} s")
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer all of which, headers, `100 Continue` and trailers too, is read from an `_Incoming`."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        incoming = _Incoming(self.fp.detach(), sock.gettimeout() or 0)
        self.fp = io.BufferedReader(incoming)
        self.allow = incoming.allow


class _Connection(http.client.HTTPConnection):
    response_class = _Response


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Response


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_Connection, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_SecureConnection, request)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request: Any, file: Any, code: int, message: str, headers: Any, url: str) -> Any:
        if not is_safe(url):
            raise urllib.error.URLError(f"redirects to {printable(url)}, which is not https")
        file.close()  # or urllib reads all that comes with the redirect into memory
        return super().redirect_request(request, file, code, message, headers, url)
