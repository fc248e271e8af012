"""What a folder of scores says of itself in `manifest.json`: which model, which data, and how it ended.

It is written before the first score. A run that goes on, and whoever reads the scores, is held to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen_rerank.errors import BadInput
from gen_rerank.system.publishing import write_text_whole

MANIFEST = "manifest.json"


class Written(BaseModel):
    """A part of a manifest: fixed, and nothing else is known there."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScoringModel(Written):
    """What scored.

    Attributes:
        name: of the model, as it was given.
        adapter: on it, as it was given.
        backend: that computed.
        dtype: of weights and activations.
        fingerprint: of all that decides a distribution.
        thresholds: of the tiers.
    """

    name: str
    adapter: str | None
    backend: str
    dtype: str
    fingerprint: str
    thresholds: Mapping[str, float]


class FileRecord(Written):
    """A file that was read: its name, a SHA-256 of its content, unpacked, and how many rows it has."""

    name: str
    sha256: str
    rows: int


class ScoredData(Written):
    """What was scored.

    Attributes:
        files: of pairs, or of queries.
        joined: the files of the data folder whose texts pairs of ids were joined with.
        index: a hash of the index that found the candidates; None where pairs were given.
        top: how many candidates of a query; None where pairs were given.
        shard_rows: the most rows of a shard.
    """

    files: tuple[FileRecord, ...]
    joined: tuple[FileRecord, ...] = ()
    index: str | None = None
    top: int | None = None
    shard_rows: Annotated[int, Field(ge=1)]


class Totals(Written):
    """How a run ended.

    Attributes:
        rows: of the input.
        pairs: that have a score, each once.
        reused: of them, those whose scores an earlier run had.
        bad: rows that could not be used.
        lost: rows of which nothing is known; 0 unless something is wrong.
        dropped: scores of the earlier run that no pair of this one has; None where none was named.
    """

    rows: int
    pairs: int
    reused: int
    bad: int
    lost: int
    dropped: int | None = None


class Manifest(Written):
    """The content of `manifest.json`."""

    format: Literal[1] = 1
    model: ScoringModel
    data: ScoredData
    finished: Totals | None = None

    @property
    def run(self) -> str:
        """A SHA-256, 16 hexadecimal digits, over what must not change while a run goes on."""
        said = (self.model.fingerprint, sorted(self.model.thresholds.items()), self.data.model_dump_json())
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]

    def save(self, folder: Path) -> None:
        """Write it; whoever reads it meanwhile meets the old one or this one."""
        write_text_whole(folder / MANIFEST, self.model_dump_json(indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a folder; None where it has none.

    Raises:
        BadInput: it is damaged, or of another version.
    """
    file = folder / MANIFEST
    if not file.is_file():
        return None
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise BadInput(
            f"{file}: is damaged, or of another version ({error.errors()[0]['msg']}); choose another --out"
        ) from error


def require_same(folder: Path, before: Manifest, now: Manifest) -> None:
    """Require that a run that goes on has the model and the data with which it was begun.

    Raises:
        BadInput: it has not; the sentence says what is another.
    """
    other = "choose another --out for these"
    if (before.model.fingerprint, before.model.thresholds) != (now.model.fingerprint, now.model.thresholds):
        thresholds = before.model.fingerprint == now.model.fingerprint
        what = f"thresholds {dict(before.model.thresholds)}" if thresholds else f"model {_model(before)}"
        new = f"{dict(now.model.thresholds)}" if thresholds else _model(now)
        raise BadInput(f"{folder}: was begun with the {what}, now it is {new}; {other}")
    for files, again in ((before.data.files, now.data.files), (before.data.joined, now.data.joined)):
        changed = _changed(files, again)
        if changed:
            raise BadInput(f"{folder}: was begun with other data: {changed}; {other}, with --reuse {folder}")
    if before.data != now.data:
        had, has = (one.model_dump(exclude={"files", "joined"}) for one in (before.data, now.data))
        changed = ", ".join(f"{name} was {had[name]}, now {has[name]}" for name in had if had[name] != has[name])
        raise BadInput(f"{folder}: was begun otherwise: {changed}; {other}")


def _model(manifest: Manifest) -> str:
    said = manifest.model
    adapter = f" with {said.adapter}" if said.adapter else ""
    return f"{said.name}{adapter} in {said.dtype} on {said.backend} (fingerprint {said.fingerprint})"


def _changed(before: Sequence[FileRecord], now: Sequence[FileRecord]) -> str:
    """Name the first file that is another one; nothing where all are the same."""
    had, has = ({file.name: file for file in files} for files in (before, now))
    for name in [*had, *has]:
        if name not in has:
            return f"{name} is not there any more"
        if name not in had:
            return f"{name} is new"
        if had[name] != has[name]:
            return f"{name} was changed"
    return ""
