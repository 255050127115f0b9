"""The HTTP server by itself: addresses, ports that cannot be had, and clients that are slow or many."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from ragd import httpd as module
from ragd.errors import CannotCreateError
from ragd.httpd import Document, Httpd
from tests.toytree import wait_until


def answer(path: str, accept: str, authorization: str) -> Document | None:
    if path == "/broken":
        raise ValueError
    return Document(200, "text/plain", accept.encode() or b"hello") if path == "/here" else None


@pytest.fixture
def server() -> Iterator[Httpd]:
    server = Httpd("127.0.0.1", 0, answer)
    yield server
    server.close()


def ask(server: Httpd, method: str, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


def test_documents_are_answered(server: Httpd) -> None:
    response = ask(server, "GET", "/here?x=1")
    assert (response.status, response.body) == (200, b"hello")  # type: ignore[attr-defined]
    assert response.headers["Content-Type"] == "text/plain"
    assert "Python" not in response.headers["Server"]
    assert ask(server, "GET", "/here", Accept="a/b").body == b"a/b"  # type: ignore[attr-defined]
    head = ask(server, "HEAD", "/here")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "5", b"")  # type: ignore[attr-defined]
    assert ask(server, "GET", "/elsewhere").status == 404
    assert ask(server, "POST", "/here").status == 501


def test_an_answer_that_breaks_ends_nothing(server: Httpd) -> None:
    with pytest.raises(http.client.RemoteDisconnected):
        ask(server, "GET", "/broken")
    assert ask(server, "GET", "/here").status == 200


def test_a_port_that_is_taken_is_named(server: Httpd) -> None:
    with pytest.raises(CannotCreateError, match=rf"127\.0\.0\.1:{server.port}: Address already in use"):
        Httpd("127.0.0.1", server.port, answer)


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(CannotCreateError, match=r"cannot listen on 192\.0\.2\.1:9464"):
        Httpd("192.0.2.1", 9464, answer)


def test_slow_and_many_clients_keep_nobody_waiting(server: Httpd) -> None:
    idlers = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(module.MAX_REQUESTS - 1)]
    assert ask(server, "GET", "/here").status == 200
    idlers += [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
    # the first are closed at once, for those who came when there was no room, the others when their time is up
    wait_until(lambda: all(map(_closed, idlers[:4])), 2, "closed")
    assert not _closed(idlers[-1])
    wait_until(lambda: all(map(_closed, idlers)), module.REQUEST_SECONDS + 10, "all closed")
    assert ask(server, "GET", "/here").status == 200
    for idler in idlers:
        idler.close()


def test_who_asks_is_answered_however_many_say_nothing(server: Httpd) -> None:
    stop = threading.Event()

    def idle() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 10) as idler:
                idler.sendall(b"GET /he")
                while idler.recv(1):
                    pass

    idlers = [threading.Thread(target=idle) for _ in range(2 * module.MAX_REQUESTS)]
    for idler in idlers:
        idler.start()
    try:
        answers = [ask(server, "GET", "/here").status for _ in range(5)]
    finally:
        stop.set()
        server.close()
        for idler in idlers:
            idler.join()
    assert answers == [200] * 5


def test_a_trickle_does_not_prolong_the_deadline(server: Httpd) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as slow:

        def drip() -> bool:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                slow.sendall(b"G")
            return _closed(slow)

        wait_until(drip, module.REQUEST_SECONDS + 10, "closed although it never fell silent")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"x" * 70_000, b"414"),
        (b"GET /here HTTP/1.1\r\nX: " + b"x" * 70_000, b"431"),
        (b"GET /here HTTP/1.1\r\n" + b"X: y\r\n" * 200, b"431"),
    ],
)
def test_what_is_too_large_is_refused(server: Httpd, request_: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request_)
        assert connection.recv(1000).startswith(b"HTTP/1.0 " + status)


def test_a_body_is_nobodys_business(server: Httpd) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"GET /here HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.0 200 ")


def _closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_after_closing_the_port_is_free() -> None:
    first = Httpd("127.0.0.1", 0, answer)
    first.close()
    second = Httpd("127.0.0.1", first.port, answer)
    assert second.port == first.port
    second.close()
