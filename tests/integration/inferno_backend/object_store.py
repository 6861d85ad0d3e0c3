"""A stand-in for an S3 service: a folder as a bucket, as much of the protocol as Triton speaks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_WHEN = "2026-01-01T00:00:00.000Z"
_WHEN_HTTP = "Thu, 01 Jan 2026 00:00:00 GMT"


@contextmanager
def s3(folder: Path) -> Iterator[str]:
    """Serve ``folder`` as the bucket ``bucket``; give its address as Triton writes it."""

    class Bucket(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            url = urlsplit(self.path)
            _, _, key = unquote(url.path).lstrip("/").partition("/")
            if key:
                file = folder / key
                self._send(file.read_bytes() if file.is_file() else None)
                return
            (prefix,) = parse_qs(url.query).get("prefix", [""])
            keys = sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())
            found = "".join(_entry(folder, each) for each in keys if each.startswith(prefix))
            self._send(
                f'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"<Name>bucket</Name><Prefix>{escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>{found}"
                "</ListBucketResult>".encode()
            )

        def _send(self, body: bytes | None) -> None:
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.send_header("Last-Modified", _WHEN_HTTP)
            self.end_headers()
            if self.command == "GET" and body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base calls it so
            """Nothing: tests read what the agent says."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"s3://http://127.0.0.1:{server.server_port}/bucket"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _entry(folder: Path, key: str) -> str:
    size = (folder / key).stat().st_size
    return f"<Contents><Key>{escape(key)}</Key><LastModified>{_WHEN}</LastModified><Size>{size}</Size></Contents>"
