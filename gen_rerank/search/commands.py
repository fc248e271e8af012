"""`gen-rerank index` and `gen-rerank search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from gen_rerank.errors import BadInput
from gen_rerank.reporting.shell import (
    AdapterName,
    AsJson,
    BackendName,
    Confidence,
    Data,
    DtypeName,
    Market,
    MinTier,
    Out,
    RuleFile,
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
    from gen_rerank.calibration.tiers import Tier
    from gen_rerank.search.index import ProductIndex
    from gen_rerank.search.search import SearchAnswer

app = typer.Typer()

_INDEX_EXAMPLES = """Example: gen-rerank index shop --out runs/index

gen-rerank index --out runs/index --add new.jsonl --delete p17,p18
"""


@app.command(epilog=_INDEX_EXAMPLES)
def index(
    out: Out,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="Products: .jsonl, .jsonl.gz, .parquet or a data folder."),
    ] = None,
    add: Annotated[Path | None, typer.Option("--add", help="Products that are put into the index.")] = None,
    delete: Annotated[list[str] | None, typer.Option("--delete", help="Ids of products that go: p1,p2.")] = None,
    delete_file: Annotated[
        Path | None, typer.Option("--delete-file", help="A file of ids of products that go, one a line.")
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", help="Whose stems and stop words: english (the default), german, …, or none."),
    ] = None,
    synonyms: Annotated[
        Path | None, typer.Option("--synonyms", help="A file of lines such as `sofa, couch` or `telly => tv`.")
    ] = None,
    vectors: Annotated[
        str | None, typer.Option("--vectors", help="A sentence-transformers model, for a third list.")
    ] = None,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Make an index of products, or change one with --add and --delete while it is searched."""
    from gen_rerank.search.building import build_index, change_index, read_ids
    from gen_rerank.search.settings import IndexSettings

    gone = [name.strip() for names in delete or () for name in names.split(",") if name.strip()]
    gone += read_ids(delete_file) if delete_file is not None else []
    if data is not None:
        if add is not None or gone:
            raise BadInput("DATA makes a new index, --add and --delete change one; give one of the two")
        settings = IndexSettings(language=(language or IndexSettings.language).lower(), vectors=vectors)
        done = build_index(data, out, settings, synonyms=synonyms, skip_bad_rows=skip_bad_rows)
        said = f"{out}: {done.products:,} products"
        if done.replaced:
            said += f"; {done.replaced:,} replaced by a later row of the same id"
    else:
        if language is not None or vectors is not None:
            raise BadInput("--language and --vectors are those of a new index; give DATA to make one")
        if add is None and not gone and synonyms is None:
            raise BadInput("nothing to do; give DATA for a new index, or --add, --delete or --synonyms to change one")
        done = change_index(out, add=add, delete=gone, synonyms=synonyms, skip_bad_rows=skip_bad_rows)
        said = f"{out}: {done.products:,} products; {done.added:,} added, {done.deleted:,} deleted"
        if done.replaced:
            said += f", {done.replaced:,} replaced by a row of the same id"
    if done.synonyms:
        said += f"; synonyms of {done.synonyms:,} words or phrases"
    elif synonyms is not None:
        said += "; no synonyms"
    list_left_out(console(), done.bad_rows)
    say(said)
    if done.unknown:
        say(f"not in the index: {', '.join(done.unknown)}")


_SEARCH_EXAMPLES = """Example: gen-rerank search runs/index "oak desk" --model runs/model

gen-rerank search runs/index "oak desk" --model runs/model --rules rules.yaml --explain

gen-rerank search runs/index "oak desk" --cascade encoder=runs/encoder,decoder=runs/model,ms=500
"""


@app.command(epilog=_SEARCH_EXAMPLES)
def search(
    index: Annotated[Path, typer.Argument(help="A folder that gen-rerank index wrote.", show_default=False)],
    query: Annotated[str, typer.Argument(help="What a shopper types.", show_default=False)],
    model: Annotated[
        str | None, typer.Option("--model", help="A checkpoint folder or hub name; without one, retrieval only.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many products are shown.")] = 10,
    candidates: Annotated[
        int, typer.Option("--candidates", min=1, help="How many products are retrieved and scored.")
    ] = 256,
    backend: BackendName = "transformers",
    dtype: DtypeName = "auto",
    adapter: AdapterName = None,
    min_tier: MinTier = None,
    confidence: Confidence = False,
    rules: RuleFile = None,
    explain: Annotated[bool, typer.Option("--explain", help="List what the rules removed and moved, and why.")] = False,
    market: Market = None,
    age: Annotated[int | None, typer.Option("--age", min=0, help="The customer's age, for the rules.")] = None,
    region: Annotated[str | None, typer.Option("--region", help="Where the customer is, for the rules.")] = None,
    cascade: Annotated[
        str | None,
        typer.Option(
            "--cascade",
            metavar="encoder=E,decoder=D",
            help="Two models: E reads everything, D what is undecided; also pairs=64, ms=200, or low=0.05 by hand.",
        ),
    ] = None,
    as_json: AsJson = False,
    out: Annotated[Path | None, written("--out", "Write the answer as JSON.")] = None,
) -> None:
    """Search an index, and rank what it finds, under the rules of the shop."""
    from gen_rerank.evaluation.evaluation import save_json
    from gen_rerank.search.cascade.models import Cascade, CascadeChoices
    from gen_rerank.search.cascade.search import CascadeSearch
    from gen_rerank.search.index import ProductIndex
    from gen_rerank.search.rules.asked import Customer
    from gen_rerank.search.search import DELETED, DUPLICATE, Search

    if cascade is not None and model is not None:
        raise BadInput("--model and --cascade both say who ranks; give one of the two")
    both = None if cascade is None else CascadeChoices.parse(cascade, adapter=adapter, backend=backend, dtype=dtype)
    if out is not None:
        models = {"the encoder": both.encoder, "the decoder": both.decoder} if both else {"the model": model}
        _check_place(out, index, {**models, "the adapter": adapter, "the rules": rules})
    if explain and rules is None:
        raise BadInput("--explain says what rules did; give them with --rules rules.yaml")
    alone = None if both else adapter
    given = Search.open(index, model, adapter=alone, backend=backend, dtype=dtype, candidates=candidates, rules=rules)
    with given if both is None else CascadeSearch(given, Cascade.open(both)) as opened:
        answer = opened.find(
            query,
            k=top,
            min_tier=cast("Tier | None", min_tier),
            confidence=confidence,
            customer=Customer(market=market, age=age, region=region),
        )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        save_json(out, answer.to_json())
    for receipt in answer.receipts:
        if receipt.rule in (DUPLICATE, DELETED):
            say(f"{receipt.product_id} left out: {receipt.why}", error_console())
    if as_json:
        say_json(answer.to_json())
    else:
        _show(answer, ProductIndex.open(index), explain)


def _check_place(out: Path, index: Path, read: dict[str, object]) -> None:
    """Refuse to write an answer into what is read."""
    from gen_rerank.system.publishing import require_apart, require_writable_file

    if index.resolve() in out.resolve().parents:
        raise BadInput(f"{out}: is a place in the index that is searched; name another")
    require_apart(out, [(f"{what} {place}", Path(str(place))) for what, place in read.items() if place is not None])
    require_writable_file(out)


def _show(answer: SearchAnswer, index: ProductIndex, explain: bool) -> None:
    """Print an answer for people."""
    from gen_rerank.calibration.tiers import NO_GOOD_MATCH
    from gen_rerank.search.answers import answer_table, nothing_found, receipts_table, rules_line, stages

    if answer.results:
        console().print(answer_table(answer))
        say(stages(answer))
        if answer.no_good_match:
            say(NO_GOOD_MATCH)
    else:
        say(nothing_found(answer, index))
    if answer.confidence is not None:
        say(answer.confidence.sentence)
    if explain:
        console().print(receipts_table(answer))
    elif line := rules_line(answer):
        say(line)
    for remark in answer.remarks:
        say(remark)


_CASCADE_EXAMPLES = """Example: gen-rerank calibrate-cascade runs/encoder runs/model shop

gen-rerank calibrate-cascade runs/encoder runs/model shop --at-most 0.02 --pairs 64 --out runs/cascade.json
"""


@app.command(name="calibrate-cascade", epilog=_CASCADE_EXAMPLES)
def calibrate_cascade(
    encoder: Annotated[str, typer.Argument(help="The model that reads everything.", show_default=False)],
    decoder: Annotated[str, typer.Argument(help="The one that reads what is undecided.", show_default=False)],
    data: Data,
    at_most: Annotated[
        float, typer.Option("--at-most", help="How much nDCG may be below the decoder's reading of everything.")
    ] = 0.005,
    places: Annotated[int, typer.Option("--places", min=1, help="k of nDCG@k: the places that are settled.")] = 5,
    pairs: Annotated[
        int | None, typer.Option("--pairs", min=0, help="The most that the decoder reads for a query.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="How many products it reads at a time.")] = 8,
    adapter: Annotated[str | None, typer.Option("--adapter", help="A LoRA adapter of the decoder.")] = None,
    out: Annotated[
        Path | None, written("--out", "Where the bounds go; cascade.json in the encoder's folder by default.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="validation or train; never test.")] = "validation",
    backend: Annotated[str, typer.Option("--backend", help="Of the decoder: transformers or vllm.")] = "transformers",
    encoder_backend: Annotated[
        str, typer.Option("--encoder-backend", help="Of the encoder: transformers or openvino.")
    ] = "transformers",
    dtype: DtypeName = "auto",
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Find out how little the decoder of a cascade may read, on judged queries, for a promise about its ranking.

    The encoder reads all candidates of a query, and the decoder those whose chance to be among the first places is
    above a bound. The bound is the highest at which nDCG is at most so much below the decoder's own ranking of
    everything, with 90% confidence over draws of queries; where so many queries cannot promise it, the nearest one is
    written and said to be unpromised. Both models must be calibrated.
    """
    from gen_rerank.search.cascade.calibrating import CascadePlan
    from gen_rerank.search.cascade.calibrating import calibrate_cascade as run

    plan = CascadePlan(
        encoder=encoder,
        decoder=decoder,
        data=data,
        split=split,
        places=places,
        at_most=at_most,
        pairs=pairs,
        batch=batch,
        backend=backend,
        encoder_backend=encoder_backend,
        dtype=dtype,
        adapter=adapter,
        out=out,
        skip_bad_rows=skip_bad_rows,
    )
    show_report(run(plan), as_json=as_json)
