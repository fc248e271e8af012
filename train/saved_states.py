"""Saved states of a run: which one is whole, and what happens when one cannot be written.

The trainer writes a folder `checkpoint-<step>` file by file. When all are there, `saving` writes their sizes and hashes
beside them: a folder without that list, or one that differs from it, was cut short (a kill, a full disk) and is not
resumed from. The last whole state is never touched before the next one is whole. What the folds of an adapter said
(`cross_fitting`) lies beside the states, and is work that is kept too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import PartialState
from safetensors import SafetensorError

from gen_rerank.errors import BadInput

logger = logging.getLogger(__name__)


class CanGoOn(BadInput):
    """A run has stopped for a reason that can be removed, and goes on from its last whole state."""


_LIST = "complete.json"
_RUN = "run.json"
_FOLD = "fold-{}.safetensors"


def fold_file(run: Path, fold: int) -> Path:
    """Return the file of what a fold, counted from 0, said."""
    return run / _FOLD.format(fold + 1)


@contextmanager
def saving(run: Path, step: int) -> Iterator[None]:
    """Guard the writing of `run/checkpoint-<step>`; the first process lists the files when all have written theirs.

    Args:
        run: the run's folder.
        step: the number in the state's name.

    Raises:
        CanGoOn: a file could not be written; what there was of the state is removed.
    """
    folder = run / f"checkpoint-{step}"
    processes = PartialState()
    try:
        yield
        processes.wait_for_everyone()
        if processes.is_main_process:
            (folder / _LIST).write_text(json.dumps(_files(folder)), encoding="utf-8")
    except (OSError, SafetensorError, RuntimeError) as error:  # torch's writer reports a full disk as RuntimeError
        if processes.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
        last = newest_whole(run)
        stands = f"the last good state is {last.name}" if last else "there is no earlier state"
        reason = " ".join(str(error).split())[:200]
        raise CanGoOn(
            f"{folder}: the state could not be saved ({reason}); {stands}: make room and go on with --resume"
        ) from error


def newest_whole(run: Path) -> Path | None:
    """Return the latest state whose files are all as they were written, or None; say which ones are not."""
    for folder in sorted(run.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1])):
        damage = _damage(folder)
        if damage is None:
            return folder
        logger.warning("%s is not whole (%s) and is left out", folder, damage)
    return None


def begin(run: Path, settings: dict[str, Any], *, resume: bool) -> Path | None:
    """Prepare a run's folder and return the state to go on from; None begins at step 0.

    Features and a new base that the earlier run left stay for the resumed one.

    Args:
        run: the run's folder.
        settings: what must be the same for a run to go on: recipe, data, base.
        resume: go on from the newest whole state.

    Raises:
        BadInput: there is nothing to resume, the run was begun with other settings, or, without `resume`, an unfinished
            run with a saved state would be lost.
    """
    if not resume:
        unfinished = newest_whole(run) or max(_folds(run), default=None)
        if unfinished is not None:
            raise BadInput(
                f"{run}: an unfinished run with {unfinished.name} is there; go on with --resume, or remove the folder"
            )
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        (run / _RUN).write_text(json.dumps(settings, indent=1, sort_keys=True), encoding="utf-8")
        return None
    try:
        begun = json.loads((run / _RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{run}: there is nothing to resume; start without --resume") from error
    other = [key for key, value in settings.items() if json.loads(json.dumps(value)) != begun.get(key)]
    if other:
        raise BadInput(f"{run}: was begun with another {' and '.join(other)}; start again without --resume")
    state = newest_whole(run)
    if state is None and not _folds(run):
        logger.warning("%s: no state was saved yet; starting at step 0", run)
    return state


def remove(run: Path) -> None:
    """Remove a run's folder; its result stands elsewhere."""
    shutil.rmtree(run, ignore_errors=True)


@contextmanager
def ended_by_refusal(run: Path) -> Iterator[None]:
    """Remove a run's folder where the block ends in a refusal: that run is over, and must not be in another's way.

    One that was interrupted or killed, or met a full disk, keeps it and can go on.
    """
    try:
        yield
    except CanGoOn:
        raise
    except KeyboardInterrupt as interrupt:
        if _folds(run) or any(run.glob(f"checkpoint-*/{_LIST}")):
            interrupt.add_note(f"the last state in {run} is kept: run the same command with --resume to go on")
        raise
    except BadInput:
        if PartialState().is_main_process:
            remove(run)
        raise


def _folds(run: Path) -> list[Path]:
    return list(run.glob(_FOLD.format("*")))


def _damage(folder: Path) -> str | None:
    try:
        listed = json.loads((folder / _LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "it was cut short while it was written"
    found = _files(folder)
    wrong = [name for name, digest in listed.items() if found.get(name) != digest]
    return f"{wrong[0]} is missing or damaged" if wrong else None


def _files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file, by its path in the folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != _LIST:
            with path.open("rb") as file:
                found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
