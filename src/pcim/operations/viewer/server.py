"""Serve files to one browser on this machine: loopback only, read only, with a token in the path.

The server is the standard library's. `aiohttp` was tried in its place: its `FileResponse` opens a path anew, so that a link put there
after the check is followed; it puts the next answer into the body of a file that became shorter; and it waits for a disk that hangs.
"""

from __future__ import annotations

import hmac
import os
import re
import shutil
import stat
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOSTS = ("127.0.0.1", "localhost")
"""Names by which a browser may have come: a page of another site that made its name lead here (DNS rebinding) has its own."""

_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
          ".json": "application/json"}  # fmt: skip
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_NO_PAGE = "default-src 'none'; sandbox"


@dataclass(frozen=True)
class SharedFiles:
    """What is given away below the token: `pages`, by path, which may run in the browser; `folders`, by the beginning of their paths.

    `policy` is the content security policy of the pages. Whatever lies in a folder is data; what does not is answered by 204.
    """

    token: str
    pages: Mapping[str, bytes]
    folders: Mapping[str, Path]
    policy: str

    def file(self, path: str) -> Path | None:
        """Return the file of a folder that a path below the token names; None where there is none, or it leads out of the folder."""
        folder, key = self._folder(path)
        try:
            found = (folder / key).resolve(strict=True) if folder else None
        except (OSError, ValueError, RuntimeError):
            return None
        return found if folder and found and found.is_relative_to(folder.resolve()) else None

    def lacks(self, path: str) -> bool:
        """Tell whether a path below the token names a place inside a folder where nothing lies, not even a link."""
        folder, key = self._folder(path)
        try:
            above = (folder / key).parent.resolve() if folder else None
        except (OSError, ValueError, RuntimeError):
            return False
        return bool(folder and above and above.is_relative_to(folder.resolve()) and not os.path.lexists(folder / key))

    def _folder(self, path: str) -> tuple[Path | None, str]:
        """Return the folder that a path begins with, and the rest of it; None where no file can be meant."""
        for begin, folder in self.folders.items():
            if path.startswith(begin + "/") and not path.endswith("/"):
                return folder, path.removeprefix(begin + "/")
        return None, ""


def is_here(hosts: Sequence[str]) -> bool:
    """Tell whether the Host headers of a request name this machine; the port may be another one, of a tunnel."""
    try:
        return len(hosts) == 1 and urlsplit(f"//{hosts[0]}").hostname in HOSTS
    except ValueError:
        return False


def plain_path(target: str) -> str | None:
    """Return the path that a request names, decoded once; None unless it is a plain one: no empty part, no dots, no backslash."""
    try:
        path = unquote(target.partition("?")[0], errors="strict")
    except UnicodeDecodeError:
        return None
    if not path.startswith("/") or not path.isprintable() or "\\" in path:
        return None
    parts = path[1:].split("/")
    return None if {".", ".."} & set(parts) or "" in parts[:-1] else path[1:]


def part_of(asked: str, size: int) -> tuple[int, int] | None:
    """Return the first byte and the end of the part that a Range header asks for; None where it asks for no part.

    Raises
    ------
    ValueError
        When no byte of the `size` lies in it.
    """
    found = _RANGE.fullmatch(asked.strip())
    if not found or not (found[1] or found[2]):
        return None  # of another unit, several parts, or nonsense: a server may then send the whole
    if not found[1]:
        first, end = max(0, size - int(found[2])), size
    else:
        first, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
    if first >= end:
        raise ValueError(f"{asked}: of {size} bytes")
    return first, end


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD. Says nothing of the machine, and logs nothing: the token is in every path."""

    protocol_version = "HTTP/1.1"
    server: Server
    timeout = 120

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def _not_allowed(self) -> None:
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _not_allowed  # noqa: N815

    def _answer(self) -> None:
        if not is_here(self.headers.get_all("Host") or []):
            return self.send_error(HTTPStatus.FORBIDDEN)
        token, _, path = (plain_path(self.path) or "").partition("/")
        files = self.server.files
        if not hmac.compare_digest(token.encode(), files.token.encode()):
            return self.send_error(HTTPStatus.NOT_FOUND)
        if path in files.pages:
            page = files.pages[path]
            kind = _TYPES.get(Path(path or "index.html").suffix, "application/octet-stream")
            return self._send(BytesIO(page), len(page), kind, files.policy)
        if files.lacks(path):  # zarr is looked for by asking, and a browser's console takes every 404 for an error
            return self._head(HTTPStatus.NO_CONTENT, 0, "application/octet-stream", _NO_PAGE, {})
        return self._send_file(files.file(path))

    def _send_file(self, path: Path | None) -> None:
        try:
            descriptor = os.open(path or "", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return self.send_error(HTTPStatus.NOT_FOUND)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            return self.send_error(HTTPStatus.NOT_FOUND)
        with os.fdopen(descriptor, "rb") as file:
            return self._send(file, found.st_size, "application/octet-stream", _NO_PAGE)

    def _send(self, source: BinaryIO, size: int, kind: str, policy: str) -> None:
        try:
            part = part_of(self.headers.get("Range", ""), size) if "If-Range" not in self.headers else None
        except ValueError:
            return self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, kind, policy, {"Content-Range": f"bytes */{size}"})
        first, end = part or (0, size)
        more = {"Content-Range": f"bytes {first}-{end - 1}/{size}"} if part else {}
        self._head(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK, end - first, kind, policy, more)
        if self.command == "HEAD":
            return None
        source.seek(first)
        while first < end and (piece := source.read(min(end - first, shutil.COPY_BUFSIZE))):  # type: ignore[attr-defined]
            self.wfile.write(piece)
            first += len(piece)
        self.close_connection = self.close_connection or first < end  # the file became shorter: what was promised cannot be kept
        return None

    def _head(self, status: HTTPStatus, size: int, kind: str, policy: str, more: Mapping[str, str]) -> None:
        self.send_response(status)
        always = {
            "Content-Type": kind, "Content-Length": str(size), "Accept-Ranges": "bytes", "Cache-Control": "no-store",
            "Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY",
        }  # fmt: skip
        if status == HTTPStatus.NO_CONTENT:
            del always["Content-Length"]  # RFC 9110, 8.6
        for name, value in {**always, **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer with a status alone: nothing of the request is repeated."""
        status = HTTPStatus(code)
        self.close_connection = True  # a body that was not read is not taken for the next request
        self._head(status, len(status.phrase), "text/plain; charset=utf-8", _NO_PAGE,
                   {"Connection": "close", **({"Allow": "GET, HEAD"} if code == HTTPStatus.METHOD_NOT_ALLOWED else {})})  # fmt: skip
        if self.command != "HEAD":
            self.wfile.write(status.phrase.encode())

    def version_string(self) -> str:
        """Name the server, without versions."""
        return "pcim"

    def log_message(self, *args: object) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """A server of `files` on the loopback; port 0 is any that is free. The caller calls `serve_forever`.

    Raises
    ------
    OSError
        When the port is taken.
    """

    daemon_threads = True

    def __init__(self, files: SharedFiles, port: int = 0) -> None:
        self.files = files
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def address(self) -> str:
        """The address of the page, with the token."""
        return f"http://127.0.0.1:{self.server_port}/{self.files.token}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over a browser that went away; what else is wrong has been answered."""
