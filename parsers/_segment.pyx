# cython: language_level=3, autotestdict=False, auto_pickle=False
"""One commit-log segment as a sequence of checked mutation slices.

Knows header, sync markers, sections and entries (sections 2 to 4 of the format) of a file that
Cassandra may still be writing. Does not look inside a mutation.

Order matters wherever the file is live. The writer stores an entry, and a marker's `next`, before
the checksum that vouches for it, so a marker's checksum is read before its `next`; and an entry is
called corrupt only if the marker that closes its section was seen before the entry was read.
"""
from cpython.buffer cimport PyBUF_READ
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from parsers._crc32 cimport crc32_update
from parsers._mapping cimport FileMapping, cdc_live_be32, cdc_nonzero_end

import os

import cython

from cdc_tail.errors import SegmentCorrupt
from parsers.codecs import section_codec
from parsers.descriptor import HEADER_MAX_BYTES, parse_log_name, read_header

cdef enum:
    ENTRY_OVERHEAD_BYTES = 12
    MUTATION_MIN_BYTES = 10         # as Cassandra's reader has it

cdef tuple REASONS = (
    "",
    "no header is written yet",
    "the header's checksum does not hold",
    "the header's id differs from the file name's",
    "no further marker is written yet",
    "the sync marker's checksum does not hold",
    "the sync marker points outside the segment",
    "the section runs past the end of the file",
    "the section is not synced yet",
    "the section is larger than max_section_bytes",
    "the section can't be decoded",
    "the next entry is not complete yet",
    "an entry's size is impossible",
    "the checksum of an entry's size does not hold",
    "an entry's checksum does not hold",
    "the offset to resume from lies inside an entry or a marker",
)


cdef inline void store_be32(uint8_t *p, uint32_t value) noexcept nogil:
    p[0] = <uint8_t>(value >> 24)
    p[1] = <uint8_t>(value >> 16)
    p[2] = <uint8_t>(value >> 8)
    p[3] = <uint8_t>value


@cython.final
cdef class SegmentReader:
    """Entries of the segment at `path`, in order, each with both of its checksums verified.

    `mode` "live" also returns entries of the open section, which no marker vouches for yet (only
    uncompressed segments show them before a sync); "marked" waits for the marker; "synced" also,
    once set_synced_offset() was called, for Cassandra's fsync. `keys` maps a key alias to the key's
    bytes, for encrypted segments. A section that decodes to more than `max_section_bytes` is
    refused before memory is taken for it.

    Slices that next_entry() gives point into the mapped file (valid until close()) or into a
    decoded section (valid until release_sections()).

    OSError if the file can't be opened; UnsupportedFormat if its header asks for what can't be
    read. A header that is not written yet is no error: `header` is None until it is.
    """

    def __cinit__(self, path, *, str mode="live", object keys=None,
                  Py_ssize_t max_section_bytes=256 * 1024 * 1024):
        if mode not in ("live", "marked", "synced"):
            raise ValueError(f'mode is "live", "marked" or "synced", not {mode!r}')
        self.path = os.fspath(path)
        self.live = mode == "live"
        self._to_sync = mode == "synced"
        self.max_section_bytes = max_section_bytes
        self._keys = keys
        self._detail = ""
        self._sections = []
        self._synced_offset = -1
        self._file = FileMapping(path)
        self._read_header()

    # ---------------------------------------------------------------- for the pipeline

    @property
    def reason(self):
        """Why the last result was CORRUPT or INCOMPLETE, one clause without a full stop."""
        return f"{REASONS[self._reason]}{self._detail}"

    @property
    def kept_bytes(self):
        """Memory held by decoded sections, in bytes."""
        return sum(len(section) for section in self._sections)

    def set_completed(self):
        """Cassandra will write no more: what no marker closes is not part of the segment."""
        self.completed = True

    def set_synced_offset(self, int64_t offset):
        """In "synced" mode take only sections that end at or before this logical offset."""
        if self._to_sync:
            self._synced_offset = offset

    def seek(self, int64_t offset):
        """Go on after this logical offset: 0, or the end of an entry or a section.

        Found out while reading: CORRUPT if it is inside an entry; INCOMPLETE, or END with
        `durable_end` below it, if the file does not reach so far.
        """
        if offset < 0:
            raise ValueError(f"a segment has no offset {offset}")
        self._resume = offset
        self.position = offset
        self._inside = False
        self._reason = NONE
        if self.header is not None:
            self._marker = self.header.length
            self._marker_logical = self._marker
            self.durable_end = self._marker

    def check_intact(self):
        """Call before slices, or what was decoded from them, are put to lasting use.

        SegmentCorrupt if the file lost pages after their checksums were verified.
        """
        self._file.check_intact()

    def is_quiet(self):
        """Whether a look would be INCOMPLETE as the last one was; False where only a look tells.

        It compares eight bytes: an idle process asks this 40 times a second.
        """
        cdef const uint8_t *base = self._file.base
        if self.header is None or self.completed:
            return False
        if self._inside:
            if not self._open or self._cursor + 4 > self._file.length:
                return False
            if cdc_live_be32(base + self._cursor) != 0:
                return False
        elif self._reason != MARKER_ABSENT or self._marker + MARKER_BYTES > self._file.length:
            return False
        return cdc_live_be32(base + self._marker + 4) != self._marker_crc

    def release_sections(self):
        """All slices given so far are done with: free decoded sections and mapped pages."""
        del self._sections[:-1 if self._inside and not self._plain else None]
        if self._plain:
            self._file.forget(self._cursor if self._inside else self._marker)

    def read(self):
        """(result, logical end offset, copy of the mutation or None): next_entry() for Python.

        Invalidates slices of earlier sections.
        """
        cdef Entry entry
        cdef int result
        with nogil:
            result = self.next_entry(&entry)
        del self._sections[:-1]
        if result == ENTRY:
            return result, entry.end_offset, (<const char *>entry.mutation)[:entry.size]
        return result, self.position, None

    def close(self):
        """Unmap the file. All slices are invalid from here on; the counters stay."""
        self._inside = False
        self._sections.clear()
        self._file.close()
        self.header = None

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    # ---------------------------------------------------------------- header

    cdef int _read_header(self) except -1:
        cdef FileMapping file = self._file
        cdef Py_ssize_t length
        if file.base == NULL:
            raise ValueError("the segment is closed")
        file.refresh()
        length = min(file.length, <Py_ssize_t>HEADER_MAX_BYTES)
        try:
            header = read_header((<const char *>file.base)[:length], self.path)
        except SegmentCorrupt:
            # While the file is being made this is a header that is half written.
            if self.completed:
                return self._corrupt(HEADER_BAD, 0, 0)
            return self._incomplete(HEADER_BAD)
        if header is None:
            if self.completed:
                return END
            return self._incomplete(HEADER_ABSENT)
        name = parse_log_name(os.path.basename(os.fsdecode(self.path)))
        if name is not None and name[1] != header.id:
            return self._corrupt(HEADER_ID, 0, 0)
        self._codec = section_codec(header, self._keys, self.path)
        self._plain = self._codec is None
        self.version = header.version
        self.segment_id = header.id
        self.header = header
        self._marker = header.length
        self._marker_logical = header.length
        self.durable_end = header.length
        self.position = max(self._resume, <int64_t>header.length)
        return ENTRY

    # ---------------------------------------------------------------- sections

    cdef uint32_t _crc_of_marker(self, Py_ssize_t marker) noexcept nogil:
        cdef uint8_t covered[12]
        store_be32(covered, <uint32_t>self.segment_id)
        store_be32(covered + 4, <uint32_t>(self.segment_id >> 32))
        store_be32(covered + 8, <uint32_t>marker)
        return crc32_update(0, covered, 12)

    cdef int _check_marker(self) except -1 nogil:
        """ENTRY if the marker closes its section (then _next is set), else the result to give."""
        cdef const uint8_t *p = self._file.base + self._marker
        cdef uint32_t crc = cdc_live_be32(p + 4)
        cdef Py_ssize_t next = <int32_t>cdc_live_be32(p)
        if crc != self._marker_crc:
            if not self.completed:
                return self._incomplete(MARKER_ABSENT)
            if crc == 0 and next == 0:
                return self._at_chain_end()
            self._next = 0
            return self._corrupt(MARKER_BAD, self._marker_logical,
                                 self._marker_logical + MARKER_BYTES)
        if next < self._marker + MARKER_BYTES:
            self._next = 0
            return self._corrupt(MARKER_RANGE, self._marker_logical,
                                 self._marker_logical + MARKER_BYTES)
        if next > self._file.length:
            self._file.refresh()
            if next > self._file.length:
                if not self.completed:
                    return self._incomplete(SECTION_CUT)
                self._next = 0
                return self._corrupt(SECTION_CUT, self._marker_logical,
                                     self._marker_logical + MARKER_BYTES)
        self._next = next
        return ENTRY

    cdef int _enter_section(self) except -1 nogil:
        cdef int result
        self._file.refresh()
        if self._marker > self._file.length - MARKER_BYTES:
            if not self.completed:
                return self._incomplete(MARKER_ABSENT)
            result = self._at_chain_end()
            if self.tail_bytes_ignored:
                # Too short for a marker, yet written to: the file was cut here.
                return self._corrupt(MARKER_BAD, self._marker_logical,
                                     self._marker_logical + self.tail_bytes_ignored)
            return result
        if self._marker_logical < self._resume < self._marker_logical + MARKER_BYTES:
            return self._corrupt(RESUME_INSIDE, self._marker_logical,
                                 self._marker_logical + MARKER_BYTES)
        self._marker_crc = self._crc_of_marker(self._marker)
        result = self._check_marker()
        if result == ENTRY and not self._plain:
            return self._enter_encoded()
        if result == ENTRY:
            if self._next <= self._resume:
                self._leave_section()
                return ENTRY
            if not self.live and not self.completed and self._next > self._synced_offset >= 0:
                return self._incomplete(SECTION_NOT_SYNCED)
            self._open = False
            self._limit = self._next
        elif result == INCOMPLETE and self._reason == MARKER_ABSENT and self._plain and self.live:
            self._open = True
            self._limit = self._file.length
        else:
            return result
        self._body = self._file.base
        self._body_logical = 0
        self._cursor = self._marker + MARKER_BYTES
        self._inside = True
        return ENTRY

    cdef int _enter_encoded(self) except -1 nogil:
        """Decode a closed section of a compressed or encrypted segment."""
        cdef const uint8_t *p = self._file.base + self._marker + MARKER_BYTES
        cdef int64_t length, end
        if self._next - self._marker < MARKER_BYTES + 4:
            return self._corrupt(MARKER_RANGE, self._marker_logical,
                                 self._marker_logical + MARKER_BYTES)
        length = <int32_t>cdc_live_be32(p)
        end = self._marker_logical + MARKER_BYTES + length
        if length < 0 or length > self.max_section_bytes:
            # Without this length nothing tells the logical offset of what follows.
            return self._corrupt(SECTION_TOO_BIG, self._marker_logical, self._marker_logical)
        if not self.live and not self.completed and end > self._synced_offset >= 0:
            return self._incomplete(SECTION_NOT_SYNCED)
        self._body_logical = self._marker_logical + MARKER_BYTES
        self._limit = <Py_ssize_t>length
        if end <= self._resume or length == 0:
            self._leave_section()
            return ENTRY
        with gil:
            if self._decode_section(<Py_ssize_t>length) == CORRUPT:
                return self._corrupt(SECTION_UNDECODABLE, self._marker_logical, end)
        self._open = False
        self._cursor = 0
        self._inside = True
        return ENTRY

    cdef int _decode_section(self, Py_ssize_t length) except -1:
        cdef const uint8_t *p = self._file.base + self._marker + MARKER_BYTES + 4
        cdef Py_ssize_t size = self._next - self._marker - MARKER_BYTES - 4
        cdef const uint8_t[::1] body
        view = PyMemoryView_FromMemory(<char *>p, size, PyBUF_READ)
        try:
            section = self._codec.decode(view, length)
        except SegmentCorrupt as error:
            self._detail = f": {error.message}"
            return CORRUPT
        finally:
            view.release()
        body = section
        self._body = &body[0]
        self._sections.append(section)
        return ENTRY

    cdef void _leave_section(self) noexcept nogil:
        """Step to the marker after the current, closed section."""
        if self._plain:
            self._marker_logical = self._next
        else:
            self._marker_logical = self._body_logical + self._limit
        self._marker = self._next
        self._next = 0
        self._inside = False
        if self.position < self._marker_logical:
            self.position = self._marker_logical
        self.durable_end = self._marker_logical

    # ---------------------------------------------------------------- entries

    cdef int next_entry(self, Entry *out) except -1 nogil:
        """ENTRY and the next mutation in `out`; or INCOMPLETE, CORRUPT, END."""
        cdef int result, reason
        cdef Py_ssize_t start
        self._file.check_intact()
        if self.header is None:
            with gil:
                result = self._read_header()
            if result != ENTRY:
                return result
        while True:
            if not self._inside:
                result = self._enter_section()
                if result != ENTRY:
                    return result
                continue
            if self._open:
                result = self._look_for_close()
                if result != ENTRY:
                    return result
            if not self._open and self._cursor == self._limit:
                self._leave_section()
                continue
            start = self._cursor
            reason = self._check_entry(out)
            if reason == NONE:
                self._cursor = start + out.size + ENTRY_OVERHEAD_BYTES
                if out.end_offset <= self._resume:
                    continue
                if self._body_logical + start < self._resume:
                    return self._corrupt(RESUME_INSIDE, self._body_logical + start, out.end_offset)
                self.position = out.end_offset
                return ENTRY
            if self._open:
                if self._file.refresh():
                    self._body = self._file.base
                    self._limit = self._file.length
                    continue
                return self._incomplete(ENTRY_ABSENT)
            if self._room() >= MUTATION_MIN_BYTES and cdc_nonzero_end(
                self._body + start, <size_t>(self._limit - start)
            ) == 0:
                # Reserved by a writer that failed: nothing was ever stored here. Cassandra's own
                # reader gives up the segment at this place; sections after it are as good as any.
                self.zero_bytes_skipped += self._limit - start
                self._leave_section()
                continue
            if reason == ENTRY_CRC:
                return self._corrupt(reason, self._body_logical + start, out.end_offset)
            return self._corrupt(reason, self._body_logical + start,
                                 self._body_logical + self._limit)

    cdef Py_ssize_t _room(self) noexcept nogil:
        """Bytes of a mutation that would fit between the cursor and the section's end."""
        return self._limit - self._cursor - ENTRY_OVERHEAD_BYTES

    cdef int _look_for_close(self) except -1 nogil:
        """In the open section: ENTRY to go on with it, closed by its marker now or not."""
        cdef int result = self._check_marker()
        if result == INCOMPLETE and self._reason == MARKER_ABSENT:
            return ENTRY
        if result != ENTRY:
            return result
        if self._next < self._cursor:
            return self._corrupt(MARKER_RANGE, self._marker_logical,
                                 self._marker_logical + MARKER_BYTES)
        self._open = False
        self._body = self._file.base
        self._limit = self._next
        return ENTRY

    cdef int _check_entry(self, Entry *out) noexcept nogil:
        """NONE if an entry with good checksums stands at the cursor, else what is wrong with it.

        `out` is set for NONE and ENTRY_CRC. The body of an entry before the offset to resume from
        is not checked again.
        """
        cdef const uint8_t *p = self._body + self._cursor
        cdef Py_ssize_t room = self._room()
        cdef uint32_t crc
        cdef int32_t size
        cdef uint8_t size_bytes[4]
        if room < MUTATION_MIN_BYTES:
            return ENTRY_SIZE
        # Loaded once: a live file may change between a check and a use.
        size = <int32_t>cdc_live_be32(p)
        if size < MUTATION_MIN_BYTES or size > room:
            return ENTRY_SIZE
        store_be32(size_bytes, <uint32_t>size)
        crc = crc32_update(0, size_bytes, 4)
        if crc != cdc_live_be32(p + 4):
            return ENTRY_SIZE_CRC
        out.mutation = p + 8
        out.size = size
        out.end_offset = self._body_logical + self._cursor + size + ENTRY_OVERHEAD_BYTES
        if out.end_offset <= self._resume:
            return NONE
        if crc32_update(crc, p + 8, <size_t>size) != cdc_live_be32(p + 8 + size):
            return ENTRY_CRC
        return NONE

    # ---------------------------------------------------------------- results

    cdef int _at_chain_end(self) except -1 nogil:
        """END: after the last good marker nothing is the segment's, whatever the bytes say."""
        self._inside = False
        self.durable_end = self._marker_logical
        self.tail_bytes_ignored = self._file.data_end(self._marker) - self._marker
        return END

    cdef int _incomplete(self, int reason) noexcept nogil:
        self._reason = reason
        return INCOMPLETE

    cdef int _corrupt(self, int reason, int64_t start, int64_t end) noexcept nogil:
        self._reason = reason
        self.error_offset = start
        self.error_end = end
        return CORRUPT
