"""Compressed bodies, decoded in pieces, without a server."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from serve.encodings import PIECE_BYTES, Decoder, decoder_for
from serve.question import Refusal

COMPRESS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}


def decoded(encoding: str, chunks: list[bytes]) -> bytes:
    decoder = Decoder(encoding)
    pieces = [piece for chunk in chunks for piece in decoder.pieces(chunk)]
    assert all(len(piece) <= PIECE_BYTES for piece in pieces)
    decoder.end()
    return b"".join(pieces)


@pytest.mark.parametrize("encoding", COMPRESS)
@settings(deadline=None)
@given(content=st.binary(max_size=2000), copies=st.sampled_from([0, 1, 700]), size=st.integers(1, 40))
def test_a_body_comes_out_as_it_went_in(encoding: str, content: bytes, copies: int, size: int) -> None:
    """However it is cut into chunks, and with pieces that end where zlib still has something to give."""
    sent = COMPRESS[encoding](content * copies)
    step = max(size, len(sent) // 50)
    assert decoded(encoding, [sent[i : i + step] for i in range(0, len(sent), step)]) == content * copies


def test_members_of_gzip_are_one_body() -> None:
    sent = gzip.compress(b"oak ") + gzip.compress(b"") + gzip.compress(b"desk")
    assert decoded("gzip", [sent]) == b"oak desk"
    assert decoded("gzip", [sent[i : i + 1] for i in range(len(sent))]) == b"oak desk"


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_damaged_body_is_400(encoding: str) -> None:
    sent = bytearray(COMPRESS[encoding](b"oak desk" * 50))
    for damaged in (b"plain text", bytes(sent[:-4]) + b"\0\0\0\0", bytes(sent) + b"trailing"):
        with pytest.raises(Refusal, match=f"the body is damaged: it is not {encoding}") as refused:
            decoded(encoding, [damaged])
        assert refused.value.status == 400


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_body_that_was_cut_short_is_400(encoding: str) -> None:
    sent = COMPRESS[encoding](b"oak desk" * 50)
    for end in (1, 5, len(sent) // 2, len(sent) - 1):
        with pytest.raises(Refusal, match="the body is cut short") as refused:
            decoded(encoding, [sent[:end]])
        assert refused.value.status == 400


def test_no_body_at_all_is_none() -> None:
    assert decoded("gzip", []) == b""


@pytest.mark.parametrize("given", [[], [""], ["identity"], ["Identity", " "]])
def test_what_is_not_compressed_needs_no_decoder(given: list[str]) -> None:
    assert decoder_for(Headers(raw=[(b"content-encoding", each.encode()) for each in given])) is None


@pytest.mark.parametrize("given", [["gzip"], ["GZIP"], ["x-gzip"], ["deflate"], ["identity, gzip"]])
def test_what_is_taken(given: list[str]) -> None:
    assert decoder_for(Headers(raw=[(b"content-encoding", each.encode()) for each in given])) is not None


@pytest.mark.parametrize("given", [["br"], ["zstd"], ["gzip, gzip"], ["gzip", "deflate"], ["x" * 500]])
def test_other_encodings_are_415_by_name(given: list[str]) -> None:
    with pytest.raises(Refusal) as refused:
        decoder_for(Headers(raw=[(b"content-encoding", each.encode()) for each in given]))
    assert refused.value.status == 415
    assert ", ".join(given)[:70] in refused.value.sentence
    assert "send the body as gzip or deflate, or as it is" in refused.value.sentence
    assert len(refused.value.sentence) < 250
