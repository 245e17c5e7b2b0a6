"""A tenant's service as docs/methods.md describes it, on real TLS, that can also behave badly in many ways."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATH = "/esl-shield/number"
SECRET = b"crm-secret-0123456789abcdef"


def sign(*words: str, body: bytes, secret: bytes = SECRET) -> str:
    """Sign as the contract says, written apart from the resolver's code."""
    text = b"".join(word.encode() + b"\n" for word in ("esl-shield-crm-1", *words)) + body
    return "v1=" + hmac.new(secret, text, hashlib.sha256).hexdigest()


class CrmServer(ThreadingHTTPServer):
    """Knows ``numbers`` by token; ``mode`` says how it behaves."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, context: ssl.SSLContext, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.context = context
        self.numbers: dict[str, str] = {}
        self.mode = "well"
        self.asked: list[dict] = []
        self.connections = 0
        self.rejected: list[str] = []
        self.last: tuple[int, dict[str, str], bytes] | None = None
        self.released = threading.Event()
        self._open: list[ssl.SSLSocket] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens, as a configuration names it."""
        return f"https://localhost:{self.server_address[1]}{PATH}"

    def finish_request(self, request, client_address) -> None:
        """Do the handshake in the connection's own thread."""
        self.connections += 1
        try:
            secured = self.context.wrap_socket(request, server_side=True)
        except (ssl.SSLError, OSError):
            return
        with secured:
            self._open.append(secured)
            super().finish_request(secured, client_address)

    def handle_error(self, request, client_address) -> None:
        """A caller that went away is no error of the test."""

    def stop(self) -> None:
        """Listen no more and hang up."""
        self.released.set()
        for secured in self._open:
            with contextlib.suppress(OSError):
                secured.shutdown(socket.SHUT_RDWR)
        self.shutdown()
        self.server_close()
        self._thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CrmServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body)
        at = self.headers["X-Shield-Timestamp"]
        wanted = sign("request", "POST", self.path, at, body=body)
        known = {question["nonce"] for question in self.server.asked}
        if wanted != self.headers["X-Shield-Signature"] or at != str(asked["timestamp"]) or asked["nonce"] in known:
            self.server.rejected.append(self.path)
            self._send(401, {}, b"")
            return
        self.server.asked.append(asked)
        getattr(self, f"_{self.server.mode}")(asked)

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, asked, body: bytes | None = None, status: int = 200, late_s: int = 0, **how) -> None:
        number = self.server.numbers.get(asked["token"])
        if body is None:
            status, body = (200, json.dumps({"number": number}).encode()) if number else (404, b"{}")
        at = str(int(time.time()) - late_s)
        signature = sign("answer", str(status), how.pop("nonce", asked["nonce"]), at, body=body, **how)
        headers = {"X-Shield-Timestamp": at, "X-Shield-Signature": signature, "Content-Type": "application/json"}
        self.server.last = status, headers, body
        self._send(status, headers, body)

    def _well(self, asked) -> None:
        self._answer(asked)

    def _then_closes(self, asked) -> None:
        self._answer(asked)
        self.close_connection = True

    def _unsigned(self, asked) -> None:
        self._send(200, {}, json.dumps({"number": self.server.numbers[asked["token"]]}).encode())

    def _other_secret(self, asked) -> None:
        self._answer(asked, secret=b"x" * 20)

    def _replays(self, asked) -> None:  # noqa: ARG002 - whatever was asked
        self._send(*self.server.last)

    def _other_question(self, asked) -> None:
        self._answer(asked, nonce="0" * 32)

    def _late(self, asked) -> None:
        self._answer(asked, late_s=100)

    def _unsigned_unknown(self, asked) -> None:  # noqa: ARG002 - whatever was asked
        self._send(404, {}, b"{}")

    def _redirects(self, asked) -> None:
        self._answer(asked, b"{}", 302, nonce=asked["nonce"])

    def _error(self, asked) -> None:
        self._answer(asked, b"{}", 500)

    def _text(self, asked) -> None:
        self._answer(asked, self.server.numbers[asked["token"]].encode())

    def _more(self, asked) -> None:
        self._answer(asked, json.dumps({"number": self.server.numbers[asked["token"]], "name": "x"}).encode())

    def _national(self, asked) -> None:
        self._answer(asked, json.dumps({"number": self.server.numbers[asked["token"]][3:]}).encode())

    def _deep(self, asked) -> None:
        self._answer(asked, b"[" * 4000)

    def _huge(self, asked) -> None:
        self._answer(asked, json.dumps({"number": self.server.numbers[asked["token"]]}).encode() + b" " * 10_000)

    def _endless(self, asked) -> None:  # noqa: ARG002 - whatever was asked
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not self.server.released.is_set():
            self.wfile.write(b"400\r\n" + b" " * 0x400 + b"\r\n")

    def _headers(self, asked) -> None:
        self._send(200, {f"X-{at}": "y" * 1000 for at in range(200)}, self.server.numbers[asked["token"]].encode())

    def _silent(self, asked) -> None:  # noqa: ARG002 - whatever was asked
        self.server.released.wait(10)

    def _drips(self, asked) -> None:
        for byte in f"HTTP/1.1 200 OK\r\nX-N: {self.server.numbers[asked['token']]}\r\n".encode() * 10:
            self.wfile.write(bytes([byte]))
            if self.server.released.wait(0.1):
                return

    def _hangs_up(self, asked) -> None:  # noqa: ARG002 - whatever was asked
        self.close_connection = True

    def _babbles(self, asked) -> None:
        self.wfile.write(self.server.numbers[asked["token"]].encode() + b" is the number\r\n\r\n")
        self.close_connection = True

    def log_message(self, *arguments) -> None:
        """Say nothing."""
