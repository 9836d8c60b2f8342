"""A model hub on this machine: the part of Hugging Face's protocol by which files of a repository are fetched."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from lineact.files import sha256_of_file


@dataclass
class Hub:
    """A hub that is up.

    Attributes:
        url: where.
        fetched: files that were fetched whole, as "name/file", in order.
    """

    url: str
    fetched: list[str] = field(default_factory=list)


@contextmanager
def serve_hub(models: Mapping[str, Path], commit: str) -> Iterator[Hub]:
    """Serves models, each of one commit, while the block runs.

    Args:
        models: folder by name, e.g. "plant/hands".
        commit: 40 hexadecimal digits.
    """
    fetched: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            place = urlsplit(self.path).path
            for name, folder in models.items():
                if place == f"/api/models/{name}/revision/{commit}":
                    files = [{"rfilename": path.name} for path in sorted(folder.iterdir())]
                    return self._send(
                        json.dumps({"id": name, "sha": commit, "siblings": files}).encode(), "", with_body
                    )
                if place.startswith(f"/api/models/{name}/tree/{commit}/"):
                    return self._refuse("EntryNotFound")  # no such folder
                inner = place.removeprefix(f"/{name}/resolve/{commit}/")
                if inner != place and (folder / inner).is_file():
                    if with_body:
                        fetched.append(f"{name}/{inner}")
                    path = folder / inner
                    return self._send(path.read_bytes(), sha256_of_file(path), with_body)
                if place.startswith(f"/{name}/resolve/"):
                    return self._refuse("EntryNotFound" if inner != place else "RevisionNotFound")
            return self._refuse("RepoNotFound")

        def _send(self, content: bytes, etag: str, with_body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{etag}"')
            self.end_headers()
            if with_body:
                self.wfile.write(content)

        def _refuse(self, code: str) -> None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.send_header("X-Error-Code", code)
            if code == "EntryNotFound":
                self.send_header("X-Repo-Commit", commit)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the tests look at `fetched`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Hub(f"http://127.0.0.1:{server.server_port}", fetched)
    finally:
        server.shutdown()
        server.server_close()
