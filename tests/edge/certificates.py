"""Certificates made for a test, and carriers that show them."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time

from ports import HOST
from sip_peer import StreamPeer

NAME = "sip.carrier.example"


def _openssl(*arguments, cwd):
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


class Authority:
    """Makes certificates in a folder; each is NAME.pem and NAME.key there."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("ca", "otherca", "selfsigned"):
            self._make(name, f"/CN={name}", "DNS:" + NAME)

    def _make(self, name, subject, alternative, *more):
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-utf8"),
            *(("-x509", "-days", "2") if "-new" not in more else ()),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", subject),
            *more,
            *(("-addext", f"subjectAltName={alternative}") if alternative else ()),
            cwd=self.folder,
        )

    def sign(self, name, alternative=f"DNS:{NAME}", *, subject="/CN=carrier", authority="ca", more=()):
        """A certificate of an authority, with this subjectAltName (none if empty)."""
        self._make(name, subject, alternative, "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", *more)
        return name

    def sign_expired(self, name):
        """A certificate with the right name that ended years ago."""
        self._make(name, "/CN=carrier", "", "-new")
        (self.folder / "index.txt").write_text("")
        (self.folder / "serial").write_text("1000\n")
        (self.folder / "ca.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n"
            f"x509_extensions=x\n[p]\ncommonName=supplied\n[x]\nsubjectAltName=DNS:{NAME}\n"
        )
        _openssl(
            *("ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-notext"),
            *("-in", f"{name}.pem", "-out", f"{name}.pem"),
            *("-startdate", "20200101000000Z", "-enddate", "20200201000000Z"),
            cwd=self.folder,
        )
        return name

    def context(self, name):
        """A server's TLS with that certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def client(self, name):
        """A client's TLS with that certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.folder / "ca.pem")
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    @property
    def settings(self):
        """The edge's tls.cfg."""
        checks = (
            f"method = TLSv1.2+\nverify_certificate = yes\nrequire_certificate = yes\nca_list = {self.folder}/ca.pem\n"
        )
        own = f"private_key = {self.folder}/edge.key\ncertificate = {self.folder}/edge.pem\n"
        return f"[server:default]\n{checks}{own}\n[client:default]\n{checks}"


class Carrier(StreamPeer):
    """A carrier on TLS (or, with no context, on bare TCP) that answers OPTIONS while it listens, if it is lively."""

    def __init__(self, context):
        super().__init__(context)
        self.lively, self.taken, self._ended, self._thread = True, b"", False, None

    def _receive(self, within_s):
        deadline = time.monotonic() + within_s
        while True:
            message = super()._receive(deadline - time.monotonic())
            self.taken += message.raw if message else b""
            if message is None or message.status or message.method != "OPTIONS":
                return message
            if self.lively:
                self.reply(message, 200, "OK", tag="o")

    def alone(self):
        """Listen in a thread of its own, until the end."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def _run(self):
        while not self._ended:
            if message := self._receive(0.05):
                self.heard.append(message)

    def restart(self, context):
        """Close every connection and go on as somebody else on the same port."""
        for connection in self._connections:
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65535):  # until the edge closes its side, and so knows
                pass
            connection.close()
        self._connections.clear()
        self._buffers.clear()
        self._context = context

    def connect(self, context, to):
        """Open a connection to the edge; what we send goes there."""
        connection = (
            context.wrap_socket(socket.create_connection(to, 5)) if context else socket.create_connection(to, 5)
        )
        self._connections.append(connection)
        self._buffers[connection] = b""

    def close(self):
        self._ended = True
        if self._thread:
            self._thread.join(5)
        super().close()

    def got(self, number):
        """Whether anything but OPTIONS, or any byte of a number, arrived here."""
        everything = self.taken + b"".join(self._buffers.values())
        return [m.first for m in self.heard if m.method != "OPTIONS"] or number[1:].encode() in everything

    def line(self, attributes="name=alpha;tls_name=" + NAME, *, group=1, flags=0, priority=20, host=HOST):
        """Its line of carriers.list."""
        return f"{group} sip:{host}:{self.port};transport=tls {flags} {priority} {attributes}"
