"""A TCP proxy that cuts connections at chosen places, to stand between a sidecar and PostgreSQL."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

PIECE_BYTES = 1 << 16
# Closing with this sends a reset instead of an end: the peer sees a broken connection.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class _Cut:
    pattern: bytes
    after_bytes: int
    at_answer: bool


class Proxy:
    """Forwards every connection to one address; cuts are armed one at a time and happen once."""

    def __init__(self, address: str, port: int) -> None:
        self._target = (address, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._cut: _Cut | None = None
        self._open: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self.cuts = 0

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        port: int = self._listener.getsockname()[1]
        return port

    def cut_after(self, pattern: bytes, n_bytes: int) -> None:
        """Cut the connection that sends `pattern` next, `n_bytes` behind the pattern's end."""
        self._arm(_Cut(pattern, n_bytes, at_answer=False))

    def cut_answer_to(self, pattern: bytes) -> None:
        """Cut the connection that sends `pattern` next, when the server answers it.

        The answer is lost: the client can't know what became of its request.
        """
        self._arm(_Cut(pattern, 0, at_answer=True))

    @property
    def is_armed(self) -> bool:
        """Whether a cut is still to come."""
        return self._cut is not None

    def _arm(self, cut: _Cut) -> None:
        with self._lock:
            assert self._cut is None
            self._cut = cut

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:  # it is down: so are we
                client.close()
                continue
            _Link(self, client, server).start()

    def claim(self, sent: bytes) -> tuple[_Cut, int] | None:
        """Take the armed cut if its pattern is in `sent`; with the offset behind the pattern."""
        with self._lock:
            cut = self._cut
            if cut is None or (found := sent.find(cut.pattern)) < 0:
                return None
            self._cut = None
            return cut, found + len(cut.pattern)

    def note_open(self, *sockets: socket.socket) -> None:
        """These must be closed at the end."""
        with self._lock:
            self._open.update(sockets)

    def note_cut(self) -> None:
        """A connection was cut."""
        with self._lock:
            self.cuts += 1

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Closing alone would leave the accepting thread where it is.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        with self._lock:
            for one in self._open:
                one.close()


class _Link:
    """One client and its connection to the server; a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._cut_at_answer = threading.Event()
        proxy.note_open(client, server)

    def start(self) -> None:
        for forward in (self._requests, self._answers):
            threading.Thread(target=forward, name="proxy", daemon=True).start()

    def _requests(self) -> None:
        kept = b""  # the end of what was sent: a pattern may come in two pieces
        left: int | None = None
        try:
            while piece := self._client.recv(PIECE_BYTES):
                if left is None and (claimed := self._proxy.claim(kept + piece)) is not None:
                    cut, end = claimed
                    if cut.at_answer:
                        self._cut_at_answer.set()
                    else:
                        left = end - len(kept) + cut.after_bytes
                if left is not None:
                    self._server.sendall(piece[:left])
                    left -= len(piece)
                    if left <= 0:
                        self._sever()
                        return
                else:
                    self._server.sendall(piece)
                    kept = (kept + piece)[-64:]
            self._server.shutdown(socket.SHUT_WR)
        except OSError:  # either side has gone
            self._close()

    def _answers(self) -> None:
        try:
            while piece := self._server.recv(PIECE_BYTES):
                if self._cut_at_answer.is_set():
                    self._sever()
                    return
                self._client.sendall(piece)
            self._client.shutdown(socket.SHUT_WR)
        except OSError:
            self._close()

    def _sever(self) -> None:
        self._proxy.note_cut()
        for one in (self._client, self._server):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._close()

    def _close(self) -> None:
        for one in (self._client, self._server):
            with contextlib.suppress(OSError):  # closed by its peer or by the other thread
                one.shutdown(socket.SHUT_RDWR)
            one.close()
