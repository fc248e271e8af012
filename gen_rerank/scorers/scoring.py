"""Many pairs through a scorer, in parts, so that it shows how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rich.progress import Progress

from gen_rerank.bins import Distribution
from gen_rerank.data.records import Pair
from gen_rerank.scorers.scorer import Scorer

_PART = 2048


def score_pairs(scorer: Scorer, pairs: Sequence[Pair], progress: Progress, name: str = "scoring") -> Distribution:
    """Return one distribution a pair, in order, and show how far it is under `name`."""
    task = progress.add_task(name, total=len(pairs))
    done = []
    for first in range(0, len(pairs), _PART):
        part = pairs[first : first + _PART]
        done.append(scorer.score(part, advance=partial(progress.advance, task)))
    return Distribution.concatenate(done)
