"""The Hugging Face hub on loopback: what its client asks to read a data set, with faults where a test wants them."""

import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.faulty_server import Behavior, LoopbackServer

REPOSITORY = "owner/name"
_API = f"/api/datasets/{REPOSITORY}"
_TREE = f"{_API}/tree/main/"
_FILES = f"/datasets/{REPOSITORY}/resolve/main/"


class HubServer(LoopbackServer):
    """One repository of the kind "dataset", with the files of a folder.

    Attributes:
        behaviors: path in the repository -> behaviors that its next downloads meet with.
        requests: method and path of each request.
    """

    def __init__(self, folder: Path) -> None:
        self.behaviors: dict[str, list[Behavior]] = {}
        self.requests: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = unquote(self.path.split("?")[0])
                server.requests.append(f"GET {path}")
                if path == _API:
                    self.answer_json({"id": REPOSITORY, "sha": "0" * 40, "siblings": []})
                elif path.startswith(_TREE) and (folder / path.removeprefix(_TREE)).is_dir():
                    entries = sorted((folder / path.removeprefix(_TREE)).iterdir())
                    self.answer_json([_entry(entry, folder) for entry in entries])
                elif path.startswith(_FILES) and (folder / path.removeprefix(_FILES)).is_file():
                    self.answer_file(path.removeprefix(_FILES))
                else:
                    kind = "EntryNotFound" if path.startswith(_API) else "RepoNotFound"
                    self.answer_json({"error": kind}, 404, {"X-Error-Code": kind})

            def answer_json(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
                data = json.dumps(content).encode()
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def answer_file(self, path: str) -> None:
                data = (folder / path).read_bytes()
                first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
                part = data[int(first) : int(last) + 1]
                if behaviors := server.behaviors.get(path):
                    behaviors.pop(0)(self, part)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
                self.send_header("Content-Length", str(len(part)))
                self.end_headers()
                self.wfile.write(part)

            def log_message(self, *args: object) -> None:
                pass

        super().__init__(Handler)


def _entry(path: Path, folder: Path) -> dict[str, Any]:
    name, size = path.relative_to(folder).as_posix(), path.stat().st_size
    return {"type": "directory" if path.is_dir() else "file", "path": name, "oid": "0" * 40, "size": size}
