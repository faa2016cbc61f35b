"""A schema registry on loopback whose answers a test chooses."""

import json
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class FakeRegistry:
    """`schemas`: texts by id; `answers`: status and body for a path, before anything else; `asked`: how often, by path."""

    def __init__(self):
        self.url = ""
        self.schemas, self.answers, self.asked = {}, {}, Counter()

    def answer(self, method, path, body):
        self.asked[path] += 1
        if path in self.answers:
            return self.answers[path]
        if method == "GET" and path.startswith("/schemas/ids/"):
            text = self.schemas.get(int(path.rpartition("/")[2]))
            return (200, json.dumps({"schema": text})) if text else (404, '{"error_code": 40403, "message": "no such id"}')
        if method == "POST" and path.endswith("/versions"):
            text = json.loads(body)["schema"]
            known = next((schema_id for schema_id, each in self.schemas.items() if each == text), max(self.schemas, default=0) + 1)
            self.schemas[known] = text
            return 200, json.dumps({"id": known})
        return 200, '{"compatibilityLevel": "BACKWARD", "compatibility": "BACKWARD"}'


@contextmanager
def registry():
    """One that answers for as long as the block lasts."""
    fake = FakeRegistry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, text = fake.answer(self.command, self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_PUT = do_GET  # noqa: N815  # the server's names

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield fake
        server.shutdown()
