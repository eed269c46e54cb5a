"""The text of macros, which lies packed inside their project: read only to search it."""

from __future__ import annotations

from collections.abc import Iterator

_CHUNK = 4096


def modules(stream: bytes) -> Iterator[bytes]:
    """Every text in a stream that unpacks as a module's (MS-OVBA 2.4.1, decompression)."""
    at = stream.find(b"\x01")
    while at >= 0:
        if at + 2 < len(stream) and stream[at + 2] >> 4 == 0xB:
            text = _unpacked(stream, at + 1)
            if len(text) > 8:
                yield text
        at = stream.find(b"\x01", at + 1)


def _unpacked(data: bytes, at: int) -> bytes:
    out = bytearray()
    while at + 2 <= len(data):
        header = int.from_bytes(data[at : at + 2], "little")
        size, signature, packed = (header & 0xFFF) + 3, header >> 12 & 7, header >> 15
        if signature != 0b011:
            break
        chunk = data[at + 2 : at + size]
        at += size
        if not packed:
            out += chunk[:_CHUNK]
        elif not _unpack_chunk(chunk, out):
            break
    return bytes(out)


def _unpack_chunk(chunk: bytes, out: bytearray) -> bool:
    start, at = len(out), 0
    while at < len(chunk):
        flags = chunk[at]
        at += 1
        for bit in range(8):
            if at >= len(chunk):
                return True
            if not flags >> bit & 1:
                out.append(chunk[at])
                at += 1
                continue
            if at + 2 > len(chunk):
                return False
            token = int.from_bytes(chunk[at : at + 2], "little")
            at += 2
            bits = max((len(out) - start - 1).bit_length(), 4)
            back = (token >> (16 - bits)) + 1
            length = (token & (0xFFFF >> bits)) + 3
            if back > len(out) - start:
                return False
            for _ in range(length):
                out.append(out[-back])
    return True
