"""Change files on a file system or an object store: each appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

COMPRESSION: Final = "zstd"


class FileStore(Protocol):
    """Where change files go; every path is relative to its root."""

    def write(self, path: str, table: pa.Table) -> int:
        """Write a file durably; returns its size in bytes. OSError where that fails."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file and what a crash left of it; no error where there is none."""
        ...


def open_store(location: str) -> FileStore:
    """The store at a folder or at a URI of pyarrow's (`s3://bucket/prefix?region=…`, `gs://…`)."""
    filesystem, root = pafs.FileSystem.from_uri(
        location if "://" in location else Path(location).absolute().as_uri()
    )
    if isinstance(filesystem, pafs.LocalFileSystem):
        return _Folder(Path(root))
    return _Bucket(filesystem, root)


class _Folder:
    """A local folder: written under another name, synced, then renamed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, path: str, table: pa.Table) -> int:
        final = self._root / path
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(final)
        with partial.open("wb") as file:
            pq.write_table(table, file, compression=COMPRESSION)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        partial.rename(final)
        # The names must be as durable as the bytes, up to the root: folders may be new.
        for folder in (final.parent, *final.parent.parents):
            _sync_folder(folder)
            if folder == self._root:
                break
        return size

    def remove(self, path: str) -> None:
        final = self._root / path
        for file in (final, _partial(final)):
            file.unlink(missing_ok=True)


class _Bucket:
    """An object store: an object appears when its upload is complete, never before."""

    def __init__(self, filesystem: pafs.FileSystem, root: str) -> None:
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    def write(self, path: str, table: pa.Table) -> int:
        with self._filesystem.open_output_stream(f"{self._root}/{path}") as stream:
            pq.write_table(table, stream, compression=COMPRESSION)
            return int(stream.tell())

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._filesystem.delete_file(f"{self._root}/{path}")


def _partial(final: Path) -> Path:
    # Neither the hidden name nor the suffix is what readers of a data set look for.
    return final.with_name(f".{final.name}.partial")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
