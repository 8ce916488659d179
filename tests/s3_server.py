"""S3 on loopback: moto's server behind a proxy that counts, and misbehaves where it is told to."""

import http.client
import threading
from collections import Counter
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from moto.server import ThreadedMotoServer

from tests.faulty_server import Behavior

Headers = Iterable[tuple[str, str]]

BUCKET = "bucket"
_AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
"""Enough for moto, which refuses what is not signed."""


class S3Server:
    """One bucket.

    Attributes:
        behaviors: path -> behaviors that its next GET requests meet with.
        requests: method and path of each request.
        received: path -> bytes of all answers that went to a client, with their headers.
        environment: what clients need to find it.
    """

    def __init__(self) -> None:
        self.behaviors: dict[str, list[Behavior]] = {}
        self.requests: list[str] = []
        self.received: Counter[str] = Counter()
        self._moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._moto.start()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # whoever writes asks first whether it may

            def relay(self) -> None:
                self.close_connection = True  # what is cut off ends
                path = self.path.split("?")[0]
                server.requests.append(f"{self.command} {path}")
                status, headers, data = server.ask(self.command, self.path, self.headers.items(), self.body())
                behaviors = server.behaviors.get(path, []) if self.command == "GET" else []
                if behaviors:
                    behaviors.pop(0)(self, data)
                    return
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in ("transfer-encoding", "content-length", "connection", "server", "date"):
                        self.send_header(name, value)
                length = dict(headers).get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
                self.send_header("Content-Length", length)
                self.send_header("Connection", "close")
                server.received[path] += sum(map(len, self._headers_buffer)) + len(data)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = relay  # noqa: N815 - the names of http.server

            def body(self) -> bytes:
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def log_message(self, *args: object) -> None:
                pass

        self._proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._proxy.daemon_threads = True
        threading.Thread(target=self._proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.environment = {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self._proxy.server_port}",
            "AWS_ACCESS_KEY_ID": "anyone",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.ask("PUT", f"/{BUCKET}", (), b"")

    def ask(self, method: str, path: str, headers: Headers, body: bytes) -> tuple[int, Headers, bytes]:
        """Ask moto."""
        connection = http.client.HTTPConnection(*self._moto.get_host_and_port())
        given = {"Authorization": _AUTHORIZATION}
        given |= {name: value for name, value in headers if name.lower() != "connection"}
        connection.request(method, path, body, given)
        answer = connection.getresponse()
        result = answer.status, answer.getheaders(), answer.read()
        connection.close()
        return result

    def put(self, path: str, data: bytes) -> None:
        status, _, answer = self.ask("PUT", f"/{BUCKET}/{path}", (), data)
        assert status == 200, answer

    def get(self, path: str) -> bytes | None:
        """Return the content of an object; None if there is none."""
        status, _, data = self.ask("GET", f"/{BUCKET}/{path}", (), b"")
        return data if status == 200 else None

    def put_folder(self, folder: Path, path: str) -> str:
        """Upload the files of a folder; return its URL."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.put(f"{path}/{file.relative_to(folder)}", file.read_bytes())
        return f"s3://{BUCKET}/{path}"

    def forget(self) -> None:
        """Forget requests and behaviors."""
        self.behaviors.clear()
        self.requests.clear()
        self.received.clear()

    def close(self) -> None:
        self._proxy.shutdown()
        self._proxy.server_close()
        self._moto.stop()
