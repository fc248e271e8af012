"""What decides a score, in one fingerprint: weights, tokenizer, template, adapter, calibration, backend, type."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from gen_rerank.scorers.opening import PreparedScorer


def fingerprint_of(prepared: PreparedScorer) -> str:
    """Return a SHA-256, 16 hexadecimal digits, over all that decides a distribution; thresholds do not.

    All weights are read.

    Example:
        >>> fingerprint_of(prepare_scorer("runs/demo/model"))  # doctest: +SKIP
        '5f0c6ce0a7dd1c52'
    """
    calibration = prepared.calibration
    adapter = None if prepared.adapter is None else prepared.adapter.fingerprint
    parts = (
        prepared.checkpoint.fingerprint,
        prepared.checkpoint.card.prompt.model_dump_json(),
        str(adapter),
        repr(calibration.temperature),
        "" if calibration.score_map is None else calibration.score_map.model_dump_json(),
        str(prepared),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def content_key(fingerprint: str, token_ids: Sequence[int]) -> bytes:
    """Return the key, 16 bytes, of what a model reads of a pair: equal keys have equal scores.

    Example:
        >>> content_key("model", [1, 2]) == content_key("model", [1, 2]) != content_key("another", [1, 2])
        True
    """
    digest = hashlib.blake2b(fingerprint.encode(), digest_size=16)
    digest.update(np.asarray(token_ids, dtype="<i4").tobytes())
    return digest.digest()
