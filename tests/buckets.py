"""A folder behind the protocols of S3 and of Google Cloud Storage on this machine: as much of them as reading needs.

Signatures are not looked at. What is asked for is in the reply of the real services: names, sizes, ETags, ranges of bytes.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

GCS = "/storage/v1/b/"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients of asyncio close connections that they may use again when they end."""


class _Handler(BaseHTTPRequestHandler):
    """bucket: the name of the one bucket; folder: what is in it; the rest is http.server's."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: object, bucket: str, folder: Path) -> None:
        self.bucket, self.folder = bucket, folder
        super().__init__(*args)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(address.query, keep_blank_values=True).items()}
        path = address.path.removeprefix("/download")
        if path.startswith(GCS):
            self._gcs(path.removeprefix(GCS).partition("/"), asked)
        else:
            self._s3(unquote(path).lstrip("/").partition("/"), asked)

    def _s3(self, place: tuple[str, str, str], asked: dict[str, str]) -> None:
        bucket, _, name = place
        if bucket != self.bucket or (name and not (self.folder / name).is_file()):
            self._send(404, b"", {"Content-Type": "application/xml"})
        elif name:
            self._send_file(self.folder / name)
        else:
            files, folders = self._listed(asked.get("prefix", ""), asked.get("delimiter", ""))
            rows = "".join(
                f"<Contents><Key>{escape(key)}</Key><Size>{file.stat().st_size}</Size><ETag>&quot;{_etag(file)}&quot;</ETag>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
                for key, file in files.items()
            )
            rows += "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders)
            text = f'<?xml version="1.0"?><ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>{rows}'
            self._send(200, f"{text}</ListBucketResult>".encode(), {"Content-Type": "application/xml"})

    def _gcs(self, place: tuple[str, str, str], asked: dict[str, str]) -> None:
        bucket, _, rest = place
        name = unquote(rest.removeprefix("o").removeprefix("/"))
        file = self.folder / name
        if bucket != self.bucket or (name and not file.is_file()):
            self._send_json({"error": {"code": 404, "message": "not found"}}, 404)
        elif name and asked.get("alt") == "media":
            self._send_file(file)
        elif name:
            self._send_json(self._object(name, file))
        elif rest:
            files, folders = self._listed(asked.get("prefix", ""), asked.get("delimiter", ""))
            self._send_json({"items": [self._object(key, one) for key, one in files.items()], "prefixes": folders})
        else:
            self._send_json({"name": bucket, "kind": "storage#bucket"})

    def _object(self, name: str, file: Path) -> dict[str, object]:
        link = (
            f"http://127.0.0.1:{self.server.server_port}/download{GCS}{self.bucket}/o/{quote(name, safe='')}?alt=media"  # type: ignore[attr-defined]
        )
        about = {"name": name, "bucket": self.bucket, "size": str(file.stat().st_size), "etag": _etag(file)}
        return about | {"kind": "storage#object", "mediaLink": link, "updated": "2026-01-01T00:00:00Z"}

    def _listed(self, prefix: str, delimiter: str) -> tuple[dict[str, Path], list[str]]:
        """The files whose names begin so; with a delimiter, those of one folder, and the folders in it."""
        names = sorted(file.relative_to(self.folder).as_posix() for file in self.folder.rglob("*") if file.is_file())
        files, folders = {}, []
        for name in filter(lambda one: one.startswith(prefix), names):
            head, mark, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            if mark:
                folders.append(prefix + head + mark)
            else:
                files[name] = self.folder / name
        return files, list(dict.fromkeys(folders))

    def _send_file(self, file: Path) -> None:
        data = file.read_bytes()
        headers = {"ETag": f'"{_etag(file)}"', "Last-Modified": formatdate(0, usegmt=True), "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range")
        if asked is None:
            self._send(200, data, headers)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last or len(data)) + 1]
        span = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        self._send(206, part, headers | {"Content-Range": span})

    def _send_json(self, value: object, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _etag(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


@contextmanager
def bucket_of(folder: Path, name: str) -> Iterator[str]:
    """The server of one bucket, running until the block ends; its address."""
    server = _Server(("127.0.0.1", 0), partial(_Handler, bucket=name, folder=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
