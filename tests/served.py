"""A folder behind http:// on this machine, for tests of data that is not on a disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FILES = (".mp4", ".tar")


class Server(ThreadingHTTPServer):
    """Serves a folder. refuse: a status for every file; cut: bytes that are left out at the end of files; asked: GETs of files."""

    daemon_threads = True
    refuse = 0
    cut = 0

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(SimpleHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def send_head(self):  # type: ignore[no-untyped-def]
        if self.server.refuse and self.path.endswith(FILES):
            self.send_error(self.server.refuse)
            return None
        if self.command == "GET" and self.path.endswith(FILES):
            self.server.asked.append(self.path)
        return super().send_head()

    def copyfile(self, source, outputfile):  # type: ignore[no-untyped-def]
        data = source.read()
        outputfile.write(data[: len(data) - self.server.cut] if self.path.endswith(FILES) else data)


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """The server, running until the block ends."""
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
