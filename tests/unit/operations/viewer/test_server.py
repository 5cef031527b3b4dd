"""The server of `pcim view`: loopback, read only, nothing without the token, and never a file outside the plates that are shown."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcim.operations.viewer.server import Server, SharedFiles, part_of, plain_path

TOKEN = "a-token"
CONTENT = bytes(range(256)) * 4096  # several pieces


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    tmp_path = tmp_path_factory.mktemp("served")
    folder = tmp_path / "plate.zarr"
    (folder / "A/1").mkdir(parents=True)
    (folder / "A/1/0").write_bytes(CONTENT)
    (folder / ".zattrs").write_text("{}")
    (folder / "page.html").write_text("<script>alert(1)</script>")
    (folder / "with space+%41").write_text("odd")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "plate.zarr.bak").mkdir()
    (tmp_path / "plate.zarr.bak/secret").write_text("secret")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to(tmp_path)
    (folder / "in").symlink_to(folder / "A/1/0")
    os.mkfifo(folder / "pipe")
    (tmp_path / "link.zarr").symlink_to(folder)
    served = SharedFiles(TOKEN, {"": b"<p>page", "page.js": b"1"}, {"source": tmp_path / "link.zarr"}, "default-src 'self'")
    with Server(served) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    host = headers.pop("Host", None)
    connection.putrequest(method, path, skip_host=host is not None)
    for name, value in (headers | ({} if host is None else {"Host": host})).items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    told = answer.status, answer.read(), answer.headers
    connection.close()
    return told


def test_it_listens_on_the_loopback_alone(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.address == f"http://127.0.0.1:{server.server_port}/{TOKEN}/"


def test_pages_and_files_are_sent_with_what_keeps_a_browser_from_harm(server: Server) -> None:
    status, body, page = ask(server, f"/{TOKEN}/")
    assert (status, body, page["Content-Type"]) == (200, b"<p>page", "text/html; charset=utf-8")
    assert page["Content-Security-Policy"] == "default-src 'self'"
    status, body, script = ask(server, f"/{TOKEN}/page.js?x=1")
    assert (status, body, script["Content-Type"]) == (200, b"1", "text/javascript; charset=utf-8")
    status, body, data = ask(server, f"/{TOKEN}/source/A/1/0")
    assert (status, body) == (200, CONTENT)
    assert ask(server, f"/{TOKEN}/source/in")[1] == CONTENT, "a link inside the plate"
    assert ask(server, f"/{TOKEN}/source/with%20space+%2541")[1] == b"odd"
    status, _, html = ask(server, f"/{TOKEN}/source/page.html")
    for headers in (data, html):
        assert headers["Content-Type"] == "application/octet-stream", "what lies in a plate is data, never a page"
        assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    for headers in (page, script, data):
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Access-Control-Allow-Origin"] is None
        assert headers["Server"] == "pcim"


@pytest.mark.parametrize("path", ["/", "/source/A/1/0", "/a-toke/", "/a-tokenn/", "/A-TOKEN/", "/%2e/", "", "*"])
def test_without_the_token_there_is_nothing(server: Server, path: str) -> None:
    status, body, _ = ask(server, path or "?")
    assert (status, body) == (404, b"Not Found")


@pytest.mark.parametrize(
    "path",
    [
        "source/../secret", "source/%2e%2e/secret", "source/%2E%2E/secret", "source/..%2fsecret", "source/%2e%2e%2fsecret",
        "source/.%2e/secret",
        "source/A/../../secret", "source/..%5csecret", "source/..\\secret", "source//etc/passwd", "source/%2fetc/passwd", "source/%00",
        "source/A%00",
        "source/%c0%ae%c0%ae/secret", "../secret", "%2e%2e/secret", "source.bak/secret", "source", "source/", "source/A",
        "source/A/", "source/./A/1/0", "source/out", "source/up/secret", "source/up/plate.zarr/A/1/0/..", "source/pipe",
        "source/up/none", "source/out/none", "other/A/1/0", "source/A/1/0/", "source/" + "a/" * 5000,
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_plate_and_folders_are_not_listed(server: Server, path: str) -> None:
    status, body, _ = ask(server, f"/{TOKEN}/{path}")
    assert (status, body) == (404, b"Not Found")


@pytest.mark.parametrize(
    "path",
    ["source/none", "source/A/1/.zarray", "source/A/1/0/x", "source/" + "a" * 300, "source/%252e%252e/secret"],
)
def test_what_a_plate_has_not_is_an_answer_and_no_error(server: Server, path: str) -> None:
    for method in ("GET", "HEAD"):
        status, body, headers = ask(server, f"/{TOKEN}/{path}", method)
        assert (status, body, headers["Content-Length"]) == (204, b"", None)
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_link_that_stays_inside_once_it_is_followed_is_a_file_of_the_plate(server: Server) -> None:
    assert ask(server, f"/{TOKEN}/source/up/plate.zarr/A/1/0")[1] == CONTENT


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_it_is_read_only(server: Server, method: str) -> None:
    status, _, headers = ask(server, f"/{TOKEN}/", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_an_unknown_method_is_refused(server: Server) -> None:
    assert ask(server, f"/{TOKEN}/", "TRACE")[0] == 501


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:9", 200), ("localhost", 200), ("LOCALHOST:80", 200), ("evil.example", 403), ("127.0.0.1.evil.example", 403),
     ("127.0.0.1@evil.example", 403), ("", 403), ("[::1", 403), ("192.168.0.7", 403)],
)  # fmt: skip
def test_a_page_of_another_site_whose_name_leads_here_is_refused(server: Server, host: str, status: int) -> None:
    assert ask(server, f"/{TOKEN}/", Host=host)[0] == status


def test_a_request_without_a_host_or_with_two_is_refused(server: Server) -> None:
    for hosts in ("", "Host: localhost\r\nHost: evil.example\r\n"):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as raw:
            raw.sendall(f"GET /{TOKEN}/ HTTP/1.1\r\n{hosts}\r\n".encode())
            assert raw.recv(100).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [("bytes=0-0", 0, 1), ("bytes=10-19", 10, 20), ("bytes=5-", 5, 100), ("bytes=-7", 93, 100), ("bytes=-700", 0, 100), ("bytes=99-500",
    99, 100)],
)  # fmt: skip
def test_a_range_is_what_rfc_9110_says(asked: str, first: int, end: int) -> None:
    assert part_of(asked, 100) == (first, end)


@pytest.mark.parametrize("asked", ["", "bytes=-", "bytes=0-1,3-4", "items=0-1", "bytes=a-b", "bytes 0-1"])
def test_what_is_no_single_range_is_the_whole(asked: str) -> None:
    assert part_of(asked, 100) is None


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=7-3"])
def test_a_range_beyond_the_end_holds_nothing(asked: str) -> None:
    with pytest.raises(ValueError, match="of 100 bytes"):
        part_of(asked, 100)


def test_parts_of_files_are_sent(server: Server) -> None:
    path = f"/{TOKEN}/source/A/1/0"
    status, body, headers = ask(server, path, Range="bytes=1000-900000")
    assert (status, body, headers["Content-Range"]) == (206, CONTENT[1000:900001], f"bytes 1000-900000/{len(CONTENT)}")
    assert ask(server, path, Range="bytes=-16")[1] == CONTENT[-16:], "as the index of a shard is read"
    status, body, headers = ask(server, path, Range=f"bytes={len(CONTENT)}-")
    assert (status, body, headers["Content-Range"]) == (416, b"", f"bytes */{len(CONTENT)}")
    status, body, headers = ask(server, path, "HEAD")
    assert (status, body, headers["Content-Length"], headers["Accept-Ranges"]) == (200, b"", str(len(CONTENT)), "bytes")


def test_a_connection_serves_one_request_after_another(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    for _ in range(3):
        connection.request("GET", f"/{TOKEN}/source/.zattrs")
        assert connection.getresponse().read() == b"{}"
    connection.close()


def test_nothing_is_logged_and_a_refusal_repeats_nothing(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    ask(server, f"/{TOKEN}/")
    _, body, headers = ask(server, "/<script>/")
    assert "script" not in body.decode() + str(headers)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as raw:
        raw.sendall(b"nonsense with <script> inside it\r\n\r\n")
        assert b"script" not in raw.recv(1000)
    assert capfd.readouterr() == ("", "")


def test_a_path_is_decoded_once() -> None:
    assert plain_path("/a/b%20c?d") == "a/b c"
    assert plain_path("/a/%252e") == "a/%2e"


def test_a_link_that_takes_the_place_of_a_file_after_the_check_is_not_followed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plate.zarr").mkdir()
    chunk = tmp_path / "plate.zarr/chunk"
    chunk.write_text("data")
    (tmp_path / "secret").write_text("secret")
    shown = SharedFiles(TOKEN, {}, {"source": tmp_path / "plate.zarr"}, "")
    check = SharedFiles.file

    def swap_after_check(files: SharedFiles, path: str) -> Path | None:
        found = check(files, path)
        chunk.unlink()
        chunk.symlink_to(tmp_path / "secret")
        return found

    monkeypatch.setattr(server, "files", shown)
    monkeypatch.setattr(SharedFiles, "file", swap_after_check)
    status, content, _ = ask(server, f"/{TOKEN}/source/chunk")
    assert status == 404
    assert b"secret" not in content


def test_a_file_that_becomes_shorter_ends_the_connection_and_not_in_the_next_answer(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plate.zarr").mkdir()
    chunk, size = tmp_path / "plate.zarr/chunk", 2**25
    chunk.write_bytes(bytes(size))
    monkeypatch.setattr(server, "files", SharedFiles(TOKEN, {}, {"source": tmp_path / "plate.zarr"}, ""))
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        question = f"GET /{TOKEN}/source/chunk HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        connection.sendall(question)
        received = connection.recv(1000)  # the rest waits: the client's buffers are full
        os.truncate(chunk, size // 4)
        connection.sendall(question)
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(2**20):
                received += piece
    assert received.count(b"HTTP/1.1 200") == 1
    assert len(received) < size
