"""Free TCP ports on a loopback address."""

from __future__ import annotations

import socket


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """`count` different ports that nothing listens on just now.

    They are held together while being chosen, so they differ; another program can still take one
    before its user binds it.
    """
    sockets = [socket.socket() for _ in range(count)]
    try:
        for held in sockets:
            held.bind((address, 0))
        return [int(held.getsockname()[1]) for held in sockets]
    finally:
        for held in sockets:
            held.close()


def accepts(address: str, port: int) -> bool:
    """Whether something accepts a connection there now."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0
