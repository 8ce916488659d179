"""A web server that misbehaves in every way that occurs."""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Behavior = Callable[[BaseHTTPRequestHandler, bytes], None]


def answer(request: BaseHTTPRequestHandler, data: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)


def answer_range(request: BaseHTTPRequestHandler, data: bytes) -> None:
    start, end = map(int, request.headers["Range"].removeprefix("bytes=").split("-"))
    request.send_response(206)
    request.send_header("Content-Length", str(end + 1 - start))
    request.end_headers()
    request.wfile.write(data[start : end + 1])


def unavailable(request: BaseHTTPRequestHandler, data: bytes) -> None:
    request.send_error(503)


def drop(request: BaseHTTPRequestHandler, data: bytes) -> None:
    request.close_connection = True


def half(request: BaseHTTPRequestHandler, data: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data[: len(data) // 2])


def stall(request: BaseHTTPRequestHandler, data: bytes) -> None:
    half(request, data)
    time.sleep(1.0)


def damage(request: BaseHTTPRequestHandler, data: bytes) -> None:
    answer(request, bytes(len(data)))


class LoopbackServer:
    """Answers requests on this machine in a thread of its own.

    Args:
        handler: class that answers a request.

    Attributes:
        url: address without a slash at the end.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Server(LoopbackServer):
    """Serves a folder; the first requests for a path meet with the behaviors that are set for it."""

    def __init__(self, folder: Path) -> None:
        self.behaviors: dict[str, list[Behavior]] = {}
        self.requests: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                server.requests.append(path)
                file = folder / path.lstrip("/")
                if not file.is_file():
                    self.send_error(404)
                    return
                behaviors = server.behaviors.get(path, [])
                behave = behaviors.pop(0) if behaviors else answer
                behave(self, file.read_bytes())

            def log_message(self, *args: object) -> None:
                pass

        super().__init__(Handler)
