"""Which systems are compared with which, and in what measures."""

from __future__ import annotations

from gen_rerank.evaluation.evaluation import HEADLINE, MSE, RPS
from gen_rerank.evaluation.metrics import MEASURES
from results_parts.measured import ADAPTED, BM25, CROSS_ENCODER, NANO

COMPARISONS = ((ADAPTED, NANO), (ADAPTED, BM25), (CROSS_ENCODER, BM25), (NANO, CROSS_ENCODER))
MRR = next(measure.name for measure in MEASURES if measure.name.startswith("MRR"))
RANKING = (HEADLINE, "nDCG@10", MRR)
DISTRIBUTIONS = (RPS, MSE)  # measured a query, as the ranking is; ECE is not
COMPARED = (*RANKING, *DISTRIBUTIONS)
