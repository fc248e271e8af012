"""ranx's JSON: qrels and runs as objects of objects, written without ranx.

Importing it brings numba, beside which vLLM's workers do not start.
"""

from __future__ import annotations

import json
from pathlib import Path

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.formats.runs import Run
from gen_rerank.data.formats.trec import whole_grades
from gen_rerank.data.importing.grading import NumberScale
from gen_rerank.data.importing.report import ImportReport

QRELS, RUN = "qrels.json", "run.json"


def write_ranx(dataset: Dataset, folder: Path, scale: NumberScale, run: Run | None, report: ImportReport) -> None:
    """Write `qrels.json` and, where scores are given, `run.json`, for `Qrels.from_file` and `Run.from_file`.

    ranx's grades are whole: what lies between two is rounded, and the report says how often.

    Args:
        dataset: whose judgments.
        folder: an empty one.
        scale: of the grades that are written.
        run: scores by query and product.
        report: is told what was lost.
    """
    for name, content in ((QRELS, whole_grades(dataset, scale, report)), (RUN, run)):
        if content is not None:
            (folder / name).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
