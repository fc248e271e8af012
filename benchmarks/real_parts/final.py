"""The last word on given checkpoints: Home Depot's validation queries and Chorus' test queries, read and counted.

Each look at the same queries makes them less of a test. So every reading is written down: when, for which models.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Split
from gen_rerank.errors import BadInput
from gen_rerank.system.publishing import write_text_whole
from harness.steps import CommandSteps
from real_parts.folders import CHORUS, HOME_DEPOT, RealFolders
from real_parts.measured import BI_ENCODER, BM25, RANDOM, floors, scored
from real_parts.tables import SystemRow

READS = "validation_reads.json"


@dataclass(frozen=True)
class MeasuredShop:
    """Whose queries are read.

    Attributes:
        name: of the shop's folder.
        title: for people.
        split: of it.
    """

    name: str
    title: str
    split: Split


SHOPS = (
    MeasuredShop(HOME_DEPOT, "Home Depot, validation queries", "validation"),
    MeasuredShop(CHORUS, "Chorus electronics, test queries", "test"),
)


@dataclass(frozen=True)
class FinalModel:
    """A checkpoint with its name in the tables; the fingerprint says whether it is still the one that was scored."""

    name: str
    folder: Path
    fingerprint: str


def read_models(written: Sequence[str]) -> list[FinalModel]:
    """Return the models that people named.

    Raises:
        BadInput: one is not `NAME=FOLDER`, a name is there twice, or a folder is no checkpoint.

    Example:
        >>> read_models(["small"])
        Traceback (most recent call last):
        gen_rerank.errors.BadInput: --model small: write a name and a checkpoint's folder, as in small=runs/small
    """
    models: dict[str, FinalModel] = {}
    for one in written:
        name, sign, folder = (part.strip() for part in one.partition("="))
        if not (name and sign and folder):
            raise BadInput(f"--model {one}: write a name and a checkpoint's folder, as in small=runs/small")
        if name in models:
            raise BadInput(f"--model {one}: the name {name!r} is there twice")
        models[name] = FinalModel(name, Path(folder), Checkpoint.open(folder).fingerprint)
    return list(models.values())


def final_rows(folders: RealFolders, shop: MeasuredShop, models: Sequence[FinalModel], backend: str) -> list[SystemRow]:
    """Measure the floors and the models on a shop.

    Raises:
        BadInput: the data are not there, or a command stopped.
    """
    data = folders.there(folders.shop(shop.name))
    dataset = Dataset.load(data).of(shop.split)
    steps = CommandSteps(folders.out / "final" / shop.name, folders.console)
    rows = [SystemRow((one,)) for one in floors(dataset, steps.steps)]
    for model in models:
        step = f"{model.name}-{model.fingerprint}-{backend}"
        system = scored(steps, step, model.name, model.folder, data, shop.split, dataset, backend)
        rows.append(SystemRow((system,)))
    return rows


def beside_floors(rows: Sequence[SystemRow]) -> list[SystemRow]:
    """Return each model twice, compared with BM25 and with the bi-encoder."""
    floors_here = [row for row in rows if row.name in (BM25, BI_ENCODER)]
    models = [row for row in rows if row.name not in (RANDOM, BM25, BI_ENCODER)]
    return [replace(model, against=floor.runs) for model in models for floor in floors_here]


def note_reading(out: Path, models: Sequence[FinalModel], command: str) -> list[Mapping[str, Any]]:
    """Write down that Home Depot's validation queries are read now, and return all readings so far.

    Raises:
        BadInput: what was written down before cannot be read: it must not be lost.
    """
    file = out / READS
    try:
        before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    except ValueError as error:
        raise BadInput(f"{file}: is no JSON, and says how often validation was read; mend it by hand") from error
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    read = {one.name: {"folder": str(one.folder), "fingerprint": one.fingerprint} for one in models}
    readings = [*before, {"when": now, "models": read, "command": command}]
    out.mkdir(parents=True, exist_ok=True)
    write_text_whole(file, json.dumps(readings, indent=1) + "\n")
    return readings
