"""Many pairs through a scorer, in parts, so that it shows how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from rich.progress import Progress

from gen_rerank.bins import Distribution, Floats
from gen_rerank.data.records import Pair
from gen_rerank.scorers.scorer import Scorer, TokenScorer

_PART = 2048


def logits_of_pairs(scorer: TokenScorer, pairs: Sequence[Pair], progress: Progress, name: str = "scoring") -> Floats:
    """Return the logits `[n, k]` of pairs, in order, on which no calibration has acted, and show how far it is."""
    task = progress.add_task(name, total=len(pairs))
    parts = (pairs[first : first + _PART] for first in range(0, len(pairs), _PART))
    return np.concatenate([scorer.pair_logits(part, advance=partial(progress.advance, task)) for part in parts])


def score_pairs(scorer: Scorer, pairs: Sequence[Pair], progress: Progress, name: str = "scoring") -> Distribution:
    """Return one distribution a pair, in order, and show how far it is under `name`."""
    task = progress.add_task(name, total=len(pairs))
    done = []
    for first in range(0, len(pairs), _PART):
        part = pairs[first : first + _PART]
        done.append(scorer.score(part, advance=partial(progress.advance, task)))
    return Distribution.concatenate(done)
