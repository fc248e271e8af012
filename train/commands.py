"""`gen-rerank train`: one command a kind of run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gen_rerank.errors import BadInput
from gen_rerank.reporting.shell import BackendName, Config, DataOption, Out, Resume, SkipBadRows, console, say, written

if TYPE_CHECKING:
    from gen_rerank.checkpoints.checkpoint import Checkpoint

app = typer.Typer(
    name="train", no_args_is_help=True, help="Train a checkpoint (both phases, or an encoder), or an adapter of one."
)


@app.command("distributional")
def train_distributional(
    data: DataOption,
    out: Out,
    config: Config = "nano",
    base: Annotated[str | None, typer.Option("--base", help="Replaces the recipe's base model.")] = None,
    resume: Resume = False,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Phase 1: learn the distribution of relevance, from a base model and graded judgments.

    A run that was interrupted goes on with --resume. On several GPUs: accelerate launch --config_file
    train/launch/ddp.yaml -m gen_rerank train distributional …

    Example: gen-rerank train distributional --config nano --data shop --out runs/phase1
    """
    from train.distributional import train_distributional as run
    from train.progress import quiet_libraries
    from train.recipe import Recipe

    quiet_libraries()
    recipe = Recipe.load(config)
    recipe = recipe if base is None else recipe.model_copy(update={"base": base})
    checkpoint = run(recipe, data, out, resume=resume, skip_bad_rows=skip_bad_rows, console=console())
    _say_trained(checkpoint)


@app.command("scalar")
def train_scalar(
    model: Annotated[str, typer.Option("--model", help="The checkpoint of phase 1.", show_default=False)],
    data: DataOption,
    out: Out,
    config: Config = "nano",
    resume: Resume = False,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Phase 2: keep the backbone, align the score. The backbone reads each pair once; only the readout is trained.

    Example: gen-rerank train scalar --config nano --model runs/phase1 --data shop --out runs/model
    """
    from train.progress import quiet_libraries
    from train.recipe import Recipe
    from train.scalar import train_scalar as run

    quiet_libraries()
    checkpoint = run(
        Recipe.load(config), model, data, out, resume=resume, skip_bad_rows=skip_bad_rows, console=console()
    )
    _say_trained(checkpoint)


@app.command("adapter")
def train_adapter(
    base: Annotated[str, typer.Option("--base", help="A checkpoint with the bins readout.", show_default=False)],
    catalog: Annotated[
        Path, typer.Option("--catalog", help="A folder with products, queries and judgments.", show_default=False)
    ],
    out: Out,
    config: Annotated[
        str, typer.Option("--config", help="The preset (adapter) or a YAML file of your own.")
    ] = "adapter",
    resume: Resume = False,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """A LoRA for one shop: a few hundred judgments are enough to start. The base stays as it is.

    Training and validation queries are held out in turn, in five folds, which choose how long it is trained. Without a
    gain on them, or if the ranking may be worse, no adapter is written.

    Example: gen-rerank train adapter --base runs/model --catalog my-shop --out runs/my-shop
    """
    from train.adapter import train_adapter as run
    from train.progress import quiet_libraries
    from train.recipe import Recipe

    quiet_libraries()
    adapter = run(
        Recipe.load(config), base, catalog, out, resume=resume, skip_bad_rows=skip_bad_rows, console=console()
    )
    say(f"{adapter.folder}: adapter of {adapter.card.base.name}, {adapter.folder / 'training.html'}")


@app.command("encoder")
def train_encoder(
    data: DataOption,
    out: Out,
    preset: Annotated[
        str, typer.Option("--preset", help="A size: micro (17M parameters), mini (68M), base (150M) or large (396M).")
    ] = "base",
    config: Annotated[
        str | None, typer.Option("--config", help="A YAML file of your own in place of the preset.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            help="What training starts from, in place of the preset's hub name: a folder, another hub name, minilm "
            "(22M parameters, this package's extra of that name), or none (a new model of the preset's shape).",
        ),
    ] = None,
    resume: Resume = False,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """The baseline: a cross-encoder with eleven labels, through sentence-transformers.

    The presets start from models of the hub; with --base none or minilm nothing is downloaded. First it shows the data
    and how long it may take (gen-rerank sample --out shop writes data to try it with). gen-rerank evaluate measures the
    result, and sentence-transformers' CrossEncoder opens it.

    Example: gen-rerank train encoder --preset micro --base none --data shop --out runs/encoder
    """
    from train.encoder import EncoderRecipe
    from train.encoder import train_encoder as run
    from train.progress import quiet_libraries

    quiet_libraries()
    recipe = EncoderRecipe.load(config or preset)
    chosen = recipe if base is None else recipe.with_base(base)
    _say_trained(run(chosen, data, out, resume=resume, skip_bad_rows=skip_bad_rows, console=console()))


@app.command("distil")
def train_distil(
    teacher: Annotated[
        str,
        typer.Option(
            "--teacher",
            help="Whose distributions are learned: a checkpoint, or a bi-encoder of sentence-transformers, by folder "
            "or hub name, or minilm.",
            show_default=False,
        ),
    ],
    pairs: Annotated[
        Path,
        typer.Option(
            "--pairs",
            help="A folder with products, queries and judgments, or a .jsonl file of query, product and, where it is "
            "judged, relevance.",
            show_default=False,
        ),
    ],
    out: Out,
    base: Annotated[
        str | None,
        typer.Option("--base", help="The student, in place of the recipe's: a folder, a hub name, minilm, or none."),
    ] = None,
    config: Annotated[str, typer.Option("--config", help="A preset, or a YAML file of your own.")] = "minilm",
    index: Annotated[
        str | None, typer.Option("--index", help="Also pairs that this index of gen-rerank index finds.")
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            "--candidates",
            min=1,
            help="With --index: so many of the first ranks of each training query, and as many of deeper ones.",
        ),
    ] = None,
    backend: BackendName = "transformers",
    cache: Annotated[
        Path | None, written("--cache", "A folder that keeps the teacher's answers for other runs.")
    ] = None,
    resume: Resume = False,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """An encoder learns a teacher's distributions, of pairs that need no judgments; labels are mixed in if asked for.

    The teacher is a large reranker whose student is to be small, or a bi-encoder whose ranking the encoder has first to
    learn before labels can better it. What the teacher has read is kept, and not read again with --resume or --cache.
    Queries of the splits validation and test are never learned from.

    Example: gen-rerank train distil --teacher minilm --pairs shop --index runs/index --candidates 8 --out runs/stage1
    """
    from train.distil import TeachingPlan
    from train.distil import train_distil as run
    from train.encoder import EncoderRecipe
    from train.progress import quiet_libraries
    from train.teaching_pairs import Candidates

    quiet_libraries()
    if (index is None) != (candidates is None):
        raise BadInput("--index and --candidates go together: INDEX finds N candidates for each training query")
    recipe = EncoderRecipe.load(config)
    plan = TeachingPlan(
        teacher=teacher,
        backend=backend,
        candidates=None if index is None or candidates is None else Candidates(index, candidates),
        cache=cache,
    )
    chosen = recipe if base is None else recipe.with_base(base)
    _say_trained(run(chosen, plan, pairs, out, resume=resume, skip_bad_rows=skip_bad_rows, console=console()))


def _say_trained(checkpoint: Checkpoint) -> None:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in (checkpoint.card.provenance.metrics or {}).items())
    say(f"{checkpoint.folder}: {figures}; {checkpoint.folder / 'training.html'}")
