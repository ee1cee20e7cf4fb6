"""TLS in front of a real PostgreSQL whose build has none: answers SSLRequest, then forwards bytes.

What a client verifies and shows is libpq's own doing; the server behind knows nothing of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.certificates import Pair

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
PIECE_BYTES = 1 << 16


class TlsFront:
    """Listens on 127.0.0.1 with a certificate; with `client_ca` it asks clients for theirs."""

    def __init__(
        self, target: tuple[str, int], pair: Pair, *, client_ca: Path | None = None
    ) -> None:
        self.port = 0
        self._target = target
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(pair.certificate, pair.key)
        if client_ca is not None:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(client_ca)
        self._loop = asyncio.new_event_loop()
        self._is_listening = threading.Event()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._serve(),), name="tls-front"
        )

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._link, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._is_listening.set()
        await self._ended.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever refuses the other ends the connection: that is what the tests look at.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            assert await reader.readexactly(len(SSL_REQUEST)) == SSL_REQUEST
            writer.write(b"S")
            await writer.start_tls(self._context)
            there, back = await asyncio.open_connection(*self._target)
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        writer.close()

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_listening.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    writer.close()
