# cython: language_level=3, autotestdict=False, auto_pickle=False
"""What to do after a SegmentReader said CORRUPT: keep the damaged bytes, step over them.

Nothing here happens by itself: to go on behind damage is the caller's choice.
"""
from libc.stdint cimport int32_t

from parsers._mapping cimport cdc_live_be32
from parsers._segment cimport (
    ENTRY_CRC, ENTRY_SIZE, ENTRY_SIZE_CRC, MARKER_BAD, MARKER_BYTES, MARKER_RANGE, NONE,
    SECTION_CUT, SECTION_UNDECODABLE, SegmentReader,
)


def damaged_bytes(SegmentReader reader not None, Py_ssize_t limit=1024 * 1024):
    """A copy of the damaged entries, or of the section's stored bytes, at most `limit` bytes.

    To be called after CORRUPT and before skip_damage().
    """
    cdef Py_ssize_t start = reader._marker
    cdef Py_ssize_t end = reader._next if reader._next > start else start + MARKER_BYTES
    if reader._plain:
        start = <Py_ssize_t>reader.error_offset
        end = <Py_ssize_t>reader.error_end
    elif reader._inside:
        start = <Py_ssize_t>(reader.error_offset - reader._body_logical)
        end = <Py_ssize_t>(reader.error_end - reader._body_logical)
        return bytes(reader._sections[-1][start:min(end, start + limit)])
    end = min(end, start + limit, reader._file.length)
    return (<const char *>reader._file.base)[start:end] if start < end else b""


def skip_damage(SegmentReader reader not None):
    """Step over [error_offset, error_end), count it, and say whether that was possible.

    Steps to the next entry if only this one's body is damaged, else to the next marker, which is
    searched for where the chain of markers is broken (`error_end` then becomes its place). False
    where nothing tells how to go on: a broken header, an offset to resume from that was never an
    end, the last section of a cut file, and a broken marker or section length in a compressed or
    encrypted segment.
    """
    cdef Py_ssize_t marker = -1
    cdef int reason = reader._reason
    if reason == ENTRY_CRC:
        reader._cursor = <Py_ssize_t>(reader.error_end - reader._body_logical)
    elif reason in (ENTRY_SIZE, ENTRY_SIZE_CRC, SECTION_UNDECODABLE):
        # `next` has no checksum of its own: a marker before it shows that it is wrong.
        if reader._plain:
            marker = find_marker(reader, reader._cursor, reader._next)
        if marker >= 0:
            reader._next = marker
            reader.error_end = marker
        reader._leave_section()
    elif reason in (MARKER_BAD, MARKER_RANGE, SECTION_CUT) and reader._plain:
        marker = find_marker(reader, reader._marker + 1, reader._file.length)
        if marker < 0:
            return False
        reader._next = marker
        reader.error_end = marker
        reader._leave_section()
    else:
        return False
    reader.damage_skipped += 1
    reader.damage_skipped_bytes += reader.error_end - reader.error_offset
    reader.position = max(reader.position, reader.error_end)
    reader._reason = NONE
    reader._detail = ""
    return True


cdef Py_ssize_t find_marker(SegmentReader reader, Py_ssize_t start, Py_ssize_t end) except -2:
    """File offset of the first written marker in [start, end), -1 if there is none."""
    cdef Py_ssize_t marker, next
    end = min(end, reader._file.length - MARKER_BYTES + 1)
    with nogil:
        for marker in range(start, end):
            if cdc_live_be32(reader._file.base + marker + 4) == reader._crc_of_marker(marker):
                next = <int32_t>cdc_live_be32(reader._file.base + marker)
                if marker + MARKER_BYTES <= next <= reader._file.length:
                    return marker
    return -1
