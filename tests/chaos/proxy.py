"""A TCP proxy that can be told to cut, to swallow, to delay, to drop replies, and to lead somewhere else."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Literal

Mode = Literal["pass", "cut", "swallow", "drop_replies"]


class Proxy:
    """Listens on a free loopback port and passes on to `target`."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.mode: Mode = "pass"
        self.delay = 0.0
        #: how many replies are still to be dropped, each together with its connection
        self.replies_to_drop = 0
        self.dropped = 0
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends all connections; new ones are refused until the mode is another."""
        self.mode = "cut"
        self.cut_now()

    def cut_now(self) -> None:
        """Ends all connections; new ones are welcome."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            _close(*pair)

    def close(self) -> None:
        self.cut()
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            if self.mode == "cut":
                _close(near)
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                _close(near)
                continue
            with self._lock:
                self._pairs.add((near, far))
            for source, sink, reply in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._pass_on, args=(source, sink, reply), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, reply: bool) -> None:
        try:
            while chunk := source.recv(65536):
                while self.mode == "swallow":
                    time.sleep(0.02)
                if self.delay:
                    time.sleep(self.delay)
                if reply and self._drops():
                    break
                sink.sendall(chunk)
        except OSError:
            pass
        _close(source, sink)

    def _drops(self) -> bool:
        with self._lock:
            if self.replies_to_drop <= 0:
                return False
            self.replies_to_drop -= 1
            self.dropped += 1
            return True


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
