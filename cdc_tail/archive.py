"""Segments that wait outside of cdc_raw, compressed, in a folder or an object store.

A segment is in the archive once its manifest is: that is written last, after the data was read back
and its checksum found right. It decides neither when a segment goes there nor when it is deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from cdc_tail.errors import (
    ArchiveUnavailable,
    CheckpointGap,
    ConfigError,
    SegmentCorrupt,
    first_line,
)
from cdc_tail.watch import SegmentFile
from parsers.descriptor import CdcIndex

_PIECE_BYTES: Final = 1 << 20
_MANIFEST_BYTES: Final = 1 << 16
_DATA: Final = ".zst"
_PENDING: Final = ".json"
_APPLIED: Final = ".applied.json"
_DAMAGE: Final = ("ZSTD ", "Truncated compressed stream")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of an archived segment without its data."""

    segment_id: int
    log_version: int
    name: str
    size_bytes: int
    sha256: str
    modified_at: float  # epoch seconds

    def as_file(self) -> SegmentFile:
        """The segment as a listing of cdc_raw would have it: Cassandra writes no more to it."""
        return SegmentFile(
            segment_id=self.segment_id,
            log_version=self.log_version,
            path=Path(self.name),
            size_bytes=self.size_bytes,
            links=1,
            modified_at=self.modified_at,
            index=CdcIndex(offset=0, completed=True),
            archived=True,
        )


class Archive:
    """The archived segments of one node below a URL: file://, s3://, gs:// or abfs://."""

    def __init__(self, url: str, node: str) -> None:
        """ConfigError where the URL is none that can be used."""
        import pyarrow as pa
        from pyarrow import fs

        self._arrow = pa
        try:
            self._fs, root = fs.FileSystem.from_uri(url)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ConfigError(
                f"archive.url can't be used: {first_line(error)}",
                hint="give file:///folder, s3://bucket/prefix or gs://bucket/prefix",
            ) from error
        self._is_local = isinstance(self._fs, fs.LocalFileSystem)
        self._folder = f"{root.rstrip('/')}/{quote(node, safe='')}"
        self._pending: dict[int, Manifest] = {}
        self._spool = tempfile.TemporaryDirectory(prefix="cdc-tail-")

    @property
    def pending(self) -> list[SegmentFile]:
        """Segments that are not applied to their end, by id: what `load` found and `put` added."""
        return [self._pending[key].as_file() for key in sorted(self._pending)]

    @property
    def size_bytes(self) -> int:
        """Uncompressed size of the pending segments."""
        return sum(one.size_bytes for one in self._pending.values())

    def load(self) -> None:
        """Find out what is there. Raises ArchiveUnavailable, SegmentCorrupt."""
        from pyarrow import fs

        with self._reached():
            self._fs.create_dir(self._folder, recursive=True)
            found = self._fs.get_file_info(fs.FileSelector(self._folder))
            names = {one.base_name for one in found if one.is_file}
            pending = {}
            for name in sorted(names):
                if not name.endswith(_PENDING) or name.endswith(_APPLIED):
                    continue
                if name.removesuffix(_PENDING) + _APPLIED in names:
                    self._delete(name)  # the process ended between both steps of `applied`
                    continue
                manifest = self._read_manifest(name)
                pending[manifest.segment_id] = manifest
        self._pending = pending

    def put(self, file: SegmentFile) -> None:
        """Store a segment that Cassandra has completed; when this returns, it may be deleted.

        Raises ArchiveUnavailable; FileNotFoundError where the segment is gone.
        """
        if file.segment_id in self._pending:
            return
        data, digest, size_bytes = file.path.name + _DATA, hashlib.sha256(), 0
        with file.path.open("rb") as source, self._reached():
            with self._fs.open_output_stream(self._path(data), compression="zstd") as stored:
                while piece := source.read(_PIECE_BYTES):
                    digest.update(piece)
                    size_bytes += len(piece)
                    stored.write(piece)
            self._sync(data)
            manifest = Manifest(
                file.segment_id,
                file.log_version,
                file.path.name,
                size_bytes,
                digest.hexdigest(),
                file.modified_at,
            )
            for _ in self._pieces(manifest):
                pass
            self._write(file.path.name + _PENDING, asdict(manifest))
        self._pending[file.segment_id] = manifest

    def fetch(self, file: SegmentFile) -> Path:
        """A local copy of an archived segment, which the caller deletes.

        Raises ArchiveUnavailable; CheckpointGap where the data is gone; SegmentCorrupt where it is
        not what was stored.
        """
        manifest = self._pending[file.segment_id]
        copy = Path(self._spool.name, manifest.name)
        with self._reached():
            data = self._fs.get_file_info(self._path(manifest.name + _DATA))
        if not data.is_file:
            raise CheckpointGap(
                "a segment with changes that were not applied is gone from the archive",
                segment=manifest.name,
            )
        with self._reached(), copy.open("wb") as local:
            for piece in self._pieces(manifest):
                local.write(piece)
        return copy

    def applied(self, segment_id: int, *, keep: bool) -> None:
        """The segment is applied to its end: delete it, or keep it as one that is done.

        Nothing where it is not here. Raises ArchiveUnavailable.
        """
        manifest = self._pending.get(segment_id)
        if manifest is None:
            return
        with self._reached():
            if keep:
                self._write(manifest.name + _APPLIED, asdict(manifest))
                self._delete(manifest.name + _PENDING)
            else:
                self._delete(manifest.name + _PENDING)
                self._delete(manifest.name + _DATA)
        del self._pending[segment_id]

    def close(self) -> None:
        """Delete local copies."""
        self._spool.cleanup()

    def _pieces(self, manifest: Manifest) -> Iterator[bytes]:
        """The data of a segment; SegmentCorrupt at its end if it is not what was stored."""
        digest, size_bytes = hashlib.sha256(), 0
        path = self._path(manifest.name + _DATA)
        with self._fs.open_input_stream(path, compression="zstd") as stored:
            while piece := stored.read(_PIECE_BYTES):
                digest.update(piece)
                size_bytes += len(piece)
                if size_bytes > manifest.size_bytes:
                    break
                yield piece
        if (size_bytes, digest.hexdigest()) != (manifest.size_bytes, manifest.sha256):
            raise SegmentCorrupt(
                "an archived segment is not what was stored", segment=manifest.name
            )

    def _read_manifest(self, name: str) -> Manifest:
        with self._fs.open_input_stream(self._path(name), compression=None) as stored:
            text = stored.read(_MANIFEST_BYTES)
        try:
            manifest = Manifest(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise SegmentCorrupt("a manifest in the archive can't be read", segment=name) from error
        if name != manifest.name + _PENDING or "/" in manifest.name:
            raise SegmentCorrupt("a manifest in the archive is of another segment", segment=name)
        return manifest

    def _write(self, name: str, content: dict[str, Any]) -> None:
        """All or nothing: an object store does so by itself, a folder by renaming."""
        new = name + ".new" if self._is_local else name
        with self._fs.open_output_stream(self._path(new), compression=None) as stored:
            stored.write(json.dumps(content).encode())
        if self._is_local:
            self._sync(new)
            self._fs.move(self._path(new), self._path(name))
            self._sync("")

    def _sync(self, name: str) -> None:
        """To the disk, where it is one of ours."""
        if self._is_local:
            descriptor = os.open(self._path(name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _delete(self, name: str) -> None:
        try:
            self._fs.delete_file(self._path(name))
        except FileNotFoundError:
            return

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}" if name else self._folder

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (OSError, self._arrow.ArrowException) as error:
            said = first_line(error)
            # What Arrow's decompressor says is an OSError as well, but has no number.
            if getattr(error, "errno", None) is None and said.startswith(_DAMAGE):
                raise SegmentCorrupt(f"an archived segment is damaged: {said}") from error
            raise ArchiveUnavailable(f"the archive of segments can't be used: {said}") from error
