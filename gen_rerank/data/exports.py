"""What `gen-rerank export` does: the judgments of a data folder in the format of another tool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast, get_args

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.formats.judgment_table import write_judgment_table
from gen_rerank.data.formats.opensearch import write_opensearch
from gen_rerank.data.formats.quepid import write_quepid
from gen_rerank.data.formats.ranx import write_ranx
from gen_rerank.data.formats.runs import Run, read_run
from gen_rerank.data.formats.trec import write_trec
from gen_rerank.data.importing.grading import NumberScale, number_scale
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.records import Split
from gen_rerank.errors import BadInput
from gen_rerank.system.publishing import folder_appearing, refuse_taken, require_writable_file

FileWriter = Callable[[Dataset, Path, NumberScale, ImportReport], None]
FolderWriter = Callable[[Dataset, Path, NumberScale, Run | None, ImportReport], None]

# One file, or a folder in which runs have room. Whole grades need a scale that is fine enough for votes' means.
FILES: Mapping[str, tuple[FileWriter, str]] = {
    "judgments": (write_judgment_table, "0-1"),
    "quepid": (write_quepid, "0-3"),
    "opensearch": (write_opensearch, "0-3"),
}
FOLDERS: Mapping[str, tuple[FolderWriter, str]] = {"trec": (write_trec, "0-100"), "ranx": (write_ranx, "0-100")}
FORMATS = (*FILES, *FOLDERS)
_LABELLED = ("judgments", "quepid")


def export_data(
    data: Path,
    out: Path,
    name: str,
    *,
    split: str | None = None,
    scale: str | None = None,
    scores: Path | None = None,
    skip_bad_rows: bool = False,
) -> ImportReport:
    """Write the judgments of a data folder in another tool's format.

    Args:
        data: the folder.
        out: a file for judgments, quepid and opensearch, a folder for trec and ranx; nothing may lie there.
        name: of the format, one of `FORMATS`.
        split: whose queries; all by default.
        scale: of the grades that are written.
        scores: a scores file, which becomes a run.
        skip_bad_rows: leave bad rows of the folder out.

    Returns:
        What was written, and what the format could not carry.

    Raises:
        BadInput: there is no such format or split, the format has no runs, nothing is judged, or `out` is taken.

    Example:
        >>> export_data(Path("shop"), Path("shop-trec"), "trec", scores=Path("scores.jsonl"))  # doctest: +SKIP
    """
    if name not in FORMATS:
        raise BadInput(f"there is no format {name!r}; choose one of {', '.join(FORMATS)}")
    if scores is not None and name in FILES:
        raise BadInput(f"--scores becomes a run, and {name} has none; choose one of {', '.join(FOLDERS)}")
    refuse_taken(out)
    chosen = number_scale(scale or (FILES[name] if name in FILES else FOLDERS[name])[1])
    dataset = _judged(data, split, skip_bad_rows)
    run = read_run(scores, dataset) if scores else None
    report = ImportReport(str(data), name)
    report.found["scale"] = str(chosen)
    report.count("judgments", len(dataset.judgments))
    labelled = sum(bool(row.labels) for row in dataset.judgments)
    if labelled and name not in _LABELLED:
        report.found["labels"] = f"of {labelled:,} judgments; {name} cannot carry them"
    if name in FILES:
        _write_file(FILES[name][0], dataset, out, chosen, report)
    else:
        with folder_appearing(out) as folder:
            FOLDERS[name][0](dataset, folder, chosen, run, report)
    report.keep("judgments", len(dataset.judgments) - sum(report.refused.values()))
    if run is not None:
        report.keep("scores", sum(map(len, run.values())))
    for row in dataset.bad_rows:
        report.refuse("bad row", row.file, row.line, row.reason)
    return report


def _judged(data: Path, split: str | None, skip_bad_rows: bool) -> Dataset:
    if split is not None and split not in get_args(Split):
        raise BadInput(f"there is no split {split!r}; choose one of {', '.join(get_args(Split))}")
    dataset = Dataset.load(data, skip_bad_rows=skip_bad_rows)
    if not dataset.judgments:
        raise BadInput(f"{data}: has no judgments.jsonl, and there is nothing else to export")
    part = dataset.of(cast(Split, split)) if split else dataset
    if not part.judgments:
        raise BadInput(f"{data}: no query of the split {split!r} has a judgment; {dataset.judged_splits()}")
    return part


def _write_file(writer: FileWriter, dataset: Dataset, out: Path, scale: NumberScale, report: ImportReport) -> None:
    require_writable_file(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".", suffix=".partial", dir=out.parent) as made:
        writer(dataset, Path(made) / out.name, scale, report)
        (Path(made) / out.name).replace(out)
