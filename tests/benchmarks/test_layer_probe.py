"""What each layer knows of relevance: the measure on states one can check, and the script on a tiny base."""

from __future__ import annotations

import numpy as np
import torch

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.records import Judgment
from gen_rerank.scorers.transformers import TransformersScorer
from layer_probe import explained, layer_states, main, probe_table
from train.bases import open_base
from train.recipe import Recipe


def _judged(relevance: np.ndarray) -> list[Judgment]:
    return [
        Judgment(query_id=f"q{i % 40}", product_id=f"p{i}", relevance=float(value)) for i, value in enumerate(relevance)
    ]


def test_states_that_hold_the_relevance_explain_it_and_noise_does_not() -> None:
    rng = np.random.default_rng(0)
    relevance = rng.uniform(size=400)
    noise = rng.normal(size=(400, 8)).astype(np.float32)
    assert abs(explained(noise, _judged(relevance))) < 0.05
    noise[:, 3] = relevance
    assert explained(noise, _judged(relevance)) > 0.8


def test_the_last_state_is_what_the_scorer_reads(tiny_checkpoint, tiny_shop) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    model, _ = open_base(Recipe(base=str(tiny_checkpoint)), tiny_checkpoint, [])
    pairs = [tiny_shop.pair(row) for row in tiny_shop.judgments[:6]]
    token_ids = checkpoint.prompt.encode(pairs)
    depth = model.config.num_hidden_layers
    states = layer_states(model.eval(), token_ids, [1, depth])
    rows = model.get_output_embeddings().weight[list(checkpoint.card.readout.token_ids)]
    logits = torch.tensor(states[depth]) @ rows.T
    scored = TransformersScorer(checkpoint).score_tokens(token_ids)
    assert np.allclose(logits.softmax(dim=-1).detach().numpy(), scored.probabilities, atol=1e-5)
    assert not np.allclose(states[1], states[depth])


def test_a_row_a_template_and_a_column_a_layer() -> None:
    table = probe_table({"short": {4: 0.1234, 8: 0.05}}, {"short": 34.1})
    assert table.header == ("Template", "Tokens a pair", "4 layers", "8 layers")
    assert table.rows == [["short", "34", "0.123", "0.050"]]


def test_the_whole_on_a_tiny_base(tiny_checkpoint, tiny_data, capsys) -> None:
    main(tiny_data, base=str(tiny_checkpoint), templates="short", pairs=40, every=1, seed=0)
    printed = capsys.readouterr().out
    assert "What the base knows of relevance" in printed
    assert "short" in printed
