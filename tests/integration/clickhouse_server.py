"""`python clickhouse_server.py <port> <folder>`: ClickHouse's HTTP interface to the embedded engine, a server that can be stopped.

There is no ClickHouse server in a Python package; the engine, its SQL and its errors are the real ones, and so is the client's side.
"""

import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError

# What the client says to an HTTP server about the connection and not about the query.
OF_CONNECTION = {"query", "database", "session_id", "query_id", "client_protocol_version", "enable_http_compression", "wait_end_of_query"}
INSERT = re.compile(r"INSERT INTO (\S+)\s*(?:\((.*)\))?\s*FORMAT (\w+)\s*", re.DOTALL)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, b"Ok.\n")

    def do_POST(self):
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else self.chunks()
        try:
            self.answer(200, self.execute(parameters, body))
        except ClickHouseError as error:
            self.answer(500, str(error).encode(), {"X-ClickHouse-Exception-Code": str(error.code)})

    def chunks(self):
        body = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def execute(self, parameters, body):
        settings = {name: value for name, value in parameters.items() if name not in OF_CONNECTION}
        sql = parameters.get("query", "")
        insert = INSERT.match(sql or body[:1000].decode(errors="replace"))
        if insert:
            table, columns, form = insert.groups()
            names = [name.strip(" `") for name in columns.split(",")] if columns else None
            data = body if sql else body[insert.end() :]
            self.server.client.raw_insert(table, names, data, settings, form, self.headers.get("Content-Encoding"))
            return b""
        return self.server.client.raw_query(sql or body.decode(), settings=settings)

    def answer(self, status, content, headers=None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "X-ClickHouse-Format": "TabSeparated", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def main():
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.client = clickhouse_connect.get_client(interface="chdb", path=sys.argv[2])
    server.serve_forever()


if __name__ == "__main__":
    main()
