"""Stands between FreeSWITCH and a worker and writes down what they say, in the form of ``data/transcripts``."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from typing import TYPE_CHECKING

from ports import HOST
from recorder import Recording

if TYPE_CHECKING:
    from pathlib import Path

_TITLE = 'Worker lines start with "> ", FreeSWITCH lines with "< ". FreeSWITCH 1.11.1, socket async full.'


class Tape:
    """Listens at ``port``, connects on to ``to``; the n-th conversation goes to ``NAME-n.txt`` when it is over."""

    def __init__(self, port: int, to: int, name: Path) -> None:
        self._listener = socket.create_server((HOST, port))
        self._to, self._name = to, name
        self._conversations: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Accept no more and write what there is."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for conversation in self._conversations:
            conversation.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                switch, _ = self._listener.accept()
                worker = socket.create_connection((HOST, self._to))
                name = self._name.with_name(f"{self._name.name}-{len(self._conversations) + 1}.txt")
                self._conversations.append(threading.Thread(target=_converse, args=(switch, worker, name), daemon=True))
                self._conversations[-1].start()


def _converse(switch: socket.socket, worker: socket.socket, name: Path) -> None:
    recording, lock = Recording(_TITLE), threading.Lock()
    commands = threading.Thread(target=_commands, args=(worker, switch, recording, lock), daemon=True)
    commands.start()
    _frames(switch, worker, recording, lock)
    commands.join(5)
    switch.close()
    worker.close()
    name.write_text(recording.render())


def _commands(worker: socket.socket, switch: socket.socket, recording: Recording, lock: threading.Lock) -> None:
    buffer = b""
    with contextlib.suppress(OSError):
        while data := worker.recv(65536):
            buffer += data
            while b"\n\n" in buffer:
                command, buffer = buffer.split(b"\n\n", 1)
                with lock:
                    recording.add(">", command.decode() + "\n")
                    switch.sendall(command + b"\n\n")
        switch.shutdown(socket.SHUT_WR)


def _frames(switch: socket.socket, worker: socket.socket, recording: Recording, lock: threading.Lock) -> None:
    buffer = b""
    with contextlib.suppress(OSError):
        while data := switch.recv(65536):
            buffer += data
            while (end := _end_of_frame(buffer)) is not None:
                frame, buffer = buffer[:end], buffer[end:]
                head, _, body = frame.partition(b"\n\n")
                with lock:
                    recording.add_frame(head, body)
                    worker.sendall(frame)
        worker.shutdown(socket.SHUT_WR)


def _end_of_frame(buffer: bytes) -> int | None:
    head, found, _ = buffer.partition(b"\n\n")
    if not found:
        return None
    length = re.search(rb"^Content-Length: (\d+)", head, re.MULTILINE)
    end = len(head) + 2 + (int(length[1]) if length else 0)
    return end if len(buffer) >= end else None
