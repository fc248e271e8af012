"""Compressed bodies: which encodings are taken, and their bytes decoded as they arrive, in pieces.

A small body may decode to a huge one, so nothing is decoded before somebody asks for the next piece. How much a body
may have, compressed or not, is the guard's business.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from starlette.datastructures import Headers

from serve.question import Refusal

# The window that zlib is told: 31 is that of gzip, 15 that of zlib's own format, which HTTP calls deflate.
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
TAKEN = "gzip, deflate"

# What is decoded at once: a millisecond's work.
PIECE_BYTES = 2**18


class Decoder:
    """Decodes one body.

    Args:
        encoding: `gzip`, `x-gzip` or `deflate`.

    Example:
        >>> decoder = Decoder("deflate")
        >>> b"".join(decoder.pieces(zlib.compress(b"desk")))
        b'desk'
        >>> decoder.end()
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._stream = self._new_stream()
        self._inside = False

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Give what the next bytes of the body decode to, at most `PIECE_BYTES` at once.

        Raises:
            Refusal: 400, they are damaged.
        """
        piece = b""
        while chunk or len(piece) == PIECE_BYTES:
            self._inside = True
            try:
                piece = self._stream.decompress(chunk, PIECE_BYTES)
            except zlib.error as error:
                sentence = f"the body is damaged: it is not {self._encoding}, as its Content-Encoding says"
                raise Refusal(400, sentence) from error
            yield piece
            chunk = self._stream.unconsumed_tail
            if self._stream.eof:
                # Some programs write gzip as several members, one after the other.
                chunk, piece = self._stream.unused_data, b""
                self._stream, self._inside = self._new_stream(), False

    def end(self) -> None:
        """Check that the body is whole.

        Raises:
            Refusal: 400, it was cut short.
        """
        if self._inside:
            raise Refusal(400, f"the body is cut short: its {self._encoding} data has no end")

    def _new_stream(self) -> zlib._Decompress:
        return zlib.decompressobj(_WINDOWS[self._encoding])


def decoder_for(headers: Headers) -> Decoder | None:
    """Return what decodes a body; None for one that is sent as it is.

    Raises:
        Refusal: 415, an encoding that is not taken, or more than one.

    Example:
        >>> decoder_for(Headers({"Content-Encoding": "identity"})) is None
        True
    """
    listed = ",".join(headers.getlist("content-encoding")).lower().split(",")
    encodings = [name for each in listed if (name := each.strip()) not in ("", "identity")]
    if not encodings:
        return None
    if len(encodings) > 1 or encodings[0] not in _WINDOWS:
        given = ", ".join(encodings)
        raise Refusal(
            415, f"the Content-Encoding {given[:80]!r} is not taken; send the body as gzip or deflate, or as it is"
        )
    return Decoder(encodings[0])
