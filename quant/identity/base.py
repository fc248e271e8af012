"""The base: embeddings, norms and shapes, which quantization leaves alone.

What training may change and what it may not follows from the card; the readout's rows and the linear layers have checks
of their own.
"""

from __future__ import annotations

import torch

from gen_rerank.checkpoints.checkpoint import Checkpoint
from quant.identity.sides import Fault, Side, same_shape, same_training, smoothed_by_either, unlike

# What two models of one base cannot differ in.
_SHAPE = (
    "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "intermediate_size", "vocab_size", "rope_parameters", "rms_norm_eps", "hidden_act",
)  # fmt: skip
# Unrelated matrices have a cosine of 0, fine-tuned ones above 0.9.
_SAME_BASE = 0.5
_SAMPLED_ROWS = 20_000


def check_base(reference: Side, candidate: Side) -> str:
    """Require the reference's base, and without recorded training its very values; return what was found.

    Raises:
        Fault: another base, or values that no recorded training explains.
    """
    ours, theirs = reference.weights.config, candidate.weights.config
    for field in _SHAPE:
        if field in ours and field in theirs and ours[field] != theirs[field]:
            raise Fault(
                f"made from another base: config.json says {field} {theirs[field]}, the reference's says {ours[field]}"
            )
    for module in reference.embeddings:
        cosine = _embedding_cosine(reference, candidate, module)
        if not cosine >= _SAME_BASE:
            raise Fault(
                f"made from another base: {module} has little in common with the reference's (cosine {cosine:.2f})"
            )
    changed = _changed_tensors(reference, candidate)
    if changed and same_training(reference, candidate):
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise Fault(
            f"{next(iter(changed.values()))}{more}, although the card records no training beyond the reference's"
        )
    if changed:
        return (
            f"of the reference's base, trained differently: {len(changed)} embeddings and norms are not the reference's"
        )
    others = [f"{name}, quantized" for name in reference.embeddings if candidate.weights.stored_as(name)]
    if smoothed := set(smoothed_by_either(reference, candidate).values()):
        others.append(f"{len(smoothed)} smoothed norms, judged with the layers that read them")
    but = f", but for {' and '.join(others)}," if others else ""
    return f"embeddings and norms{but} are the reference's{_parent_note(reference, candidate)}"


def _parent_note(reference: Side, candidate: Side) -> str:
    """Say that the card names another parent: the contents, which are equal, are what counts."""
    recorded = candidate.quantization.parent_fingerprint
    if recorded is None or recorded == Checkpoint.open(reference.name).fingerprint:
        return ""
    return f" (the card names a parent with other files, fingerprint {recorded}, but these are equal in content)"


def _embedding_cosine(reference: Side, candidate: Side, module: str) -> float:
    """Return the cosine of two centred embedding matrices, over rows that are spread evenly."""
    ours, theirs = same_shape(module, reference.weights.weight(module), candidate.weights.weight(module))
    rows = torch.arange(0, len(ours), -(-len(ours) // _SAMPLED_ROWS))
    if torch.equal(ours[rows], theirs[rows]):
        return 1.0
    ours, theirs = (side[rows] - side[rows].mean(dim=0) for side in (ours, theirs))
    return float((ours * theirs).sum() / (ours.norm() * theirs.norm()))


def _changed_tensors(reference: Side, candidate: Side) -> dict[str, str]:
    """Return a clause for each tensor that quantization leaves alone and that is not the reference's.

    Left out: readout rows and linear layers, which have checks of their own, and smoothed norms, which are judged with
        the
    layers that read them. A quantized embedding is not the reference's; that it is near was seen before.
    """
    judged = {
        *reference.linear(),
        *(name for name in reference.readout_modules if name not in reference.embeddings),
        *smoothed_by_either(reference, candidate).values(),
    }
    found = {}
    for name in reference.weights.files:
        module, _, leaf = name.rpartition(".")
        quantized = any(
            side.weights.stored_as(module) for side in (reference, candidate) if module in side.weights.modules
        )
        if leaf != "bias" and (module in judged or quantized):
            continue
        ours, theirs = same_shape(name, reference.weights.tensor(name), candidate.weights.tensor(name))
        changed = unlike(ours, theirs).reshape(len(ours), -1).any(dim=1)
        if module in reference.readout_modules:
            changed[list(reference.card.readout.token_ids)] = False
        if changed.any():
            found[name] = f"{name} is not the reference's in {int(changed.sum()):,} of {len(changed):,} rows"
    return found
