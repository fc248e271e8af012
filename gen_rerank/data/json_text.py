"""Bytes become JSON values, by the same rules for a line of a file, a body of a request and a text in a column.

A byte order mark is skipped, half of a surrogate pair is mended, and NaN and Infinity, which Python writes and JSON
does not know, are read: what they mean is `values`' to say. Other encodings are told by name.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from gen_rerank.reporting.whole_json import without_half_characters

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class NotJson(ValueError):
    """Bytes that are no JSON; the message is a clause that follows "is"."""


def read_json(raw: bytes) -> Any:
    r"""Return the value that UTF-8 bytes say.

    Raises:
        NotJson: they are no JSON, or are in another encoding.

    Example:
        >>> read_json(b'\xef\xbb\xbf{"brand": NaN}')
        {'brand': nan}
    """
    if is_utf_16(raw):
        raise NotJson("UTF-16; write it as UTF-8")
    raw = raw.removeprefix(BYTE_ORDER_MARK)
    try:
        return from_json(raw)
    except ValueError as error:
        if not _is_utf_8(raw):
            raise NotJson("not UTF-8; write it as UTF-8") from error
        mended = without_half_characters(raw)
        if mended == raw:
            raise NotJson(f"not valid JSON ({error})") from error
    try:
        return from_json(mended)
    except ValueError as error:
        raise NotJson(f"not valid JSON ({error})") from error


def _is_utf_8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def is_utf_16(raw: bytes) -> bool:
    """Return whether bytes begin as UTF-16 text does, with a mark or with half an ASCII character."""
    return raw.startswith(_UTF_16) or (len(raw) > 1 and 0 in raw[:2])
