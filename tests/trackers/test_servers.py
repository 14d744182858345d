"""Any answer is one; none, or a gateway without a server behind it, is refused."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from headstart.config import StudyError
from headstart.trackers import servers
from headstart.trackers.servers import require_answer


class Answers(BaseHTTPRequestHandler):
    code = 200

    def do_HEAD(self) -> None:
        self.send_response(self.code)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("code", [200, 401, 403, 404, 405, 500])
def test_an_answer_is_enough(code: int, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answers, "code", code)
    require_answer("x", url)
    require_answer("x", url.replace("http", "https"))  # no TLS there: for the library to say


@pytest.mark.parametrize("code", [502, 503, 504])
def test_a_gateway_alone_is_not(code: int, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answers, "code", code)
    with pytest.raises(StudyError, match=rf"does not answer \({code} "):
        require_answer("x", url)


def test_one_that_accepts_and_says_nothing_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "SECONDS", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(StudyError, match=r"does not answer .*timed out"),
    ):
        require_answer("x", f"http://127.0.0.1:{silent.getsockname()[1]}")


def test_no_address_is_not() -> None:
    with pytest.raises(StudyError, match="does not answer"):
        require_answer("x", "http://[")
