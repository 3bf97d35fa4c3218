"""The scans of a JPEG, counted before it is decoded: each goes over the whole picture, whatever few bytes it has."""

import re

MAX_SCANS = 100
"""Encoders write up to some thirty; a thousand of fourteen bytes each keep a decoder busy for ten seconds."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # stuffed bytes and restarts are part of a scan
_START_OF_SCAN, _END = 0xDA, 0xD9


def count_scans(content: bytes) -> int:
    """The scans of the JPEG that `content` begins with, at most `MAX_SCANS` + 1; what follows its end is not read."""
    scans, place = 0, 2
    while scans <= MAX_SCANS and (found := _MARKER.search(content, place)) is not None:
        kind, start = content[found.start() + 1], found.end()
        if kind == _END:
            break
        scans += kind == _START_OF_SCAN
        place = start + max(2, int.from_bytes(content[start : start + 2], "big"))
    return scans
