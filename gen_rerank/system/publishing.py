"""Files and folders that appear whole or not at all, and a full disk in words.

Work happens under another name beside the target, and a rename is the last step: a reader never meets half a file, and
a run that is killed leaves nothing that looks finished. Two runs with one target are kept apart by a lock that goes
with its process. What is written is the caller's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from gen_rerank.errors import BadInput

Opened = TypeVar("Opened")

# In the workplace: what lay at the target until the new folder took its name.
_REPLACED = "replaced"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def refuse_taken(out: Path) -> None:
    """Refuse an `out` at which something lies.

    Raises:
        BadInput: there is a file, or a folder that is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{out}: already exists; choose another place or remove it")


def workplace_of(out: Path) -> Path:
    """Return the hidden folder beside `out` in which `folder_appearing` fills what is to become it."""
    return out.with_name(f".{out.name}.partial")


@contextmanager
def folder_appearing(out: Path, refuse: Callable[[Path], object] = refuse_taken) -> Iterator[Path]:
    """Give an empty folder to fill, which takes the place of `out` when the block ends well.

    It lies in a hidden folder beside `out`, in which there is room for more and which is removed in any case; what a
    killed run left of it, the next one to the same `out` removes. Files are made readable for everybody, as safetensors
    writes for its owner alone and a server may run as somebody else.

    Args:
        out: where the folder is to appear.
        refuse: raises `BadInput` where what lies at `out` may not be replaced; asked before the block and at its end.
            By default nothing but an empty folder may.

    Raises:
        BadInput: another run is writing it, or `refuse` says so.

    Example:
        >>> with folder_appearing(Path("runs/model")) as folder:  # doctest: +SKIP
        ...     model.save_pretrained(folder)
    """
    require_room(out)
    out = out.resolve()
    refuse(out)
    with alone_at(out) as workplace:
        refuse(out)  # what a killed run had moved away is back
        made, replaced = workplace / out.name, workplace / _REPLACED
        made.mkdir()
        try:
            yield made
            for path in made.rglob("*"):
                path.chmod(0o755 if path.is_dir() else 0o644)
            refuse(out)
            if out.exists():
                out.rename(replaced)
            made.rename(out)  # the system refuses where something has appeared in the meantime
        except BaseException:
            if replaced.exists() and not out.exists():
                replaced.rename(out)
            raise


@contextmanager
def alone_at(out: Path) -> Iterator[Path]:
    """Give an empty hidden folder beside `out`, which is removed with the block; only one process has it at a time.

    What a killed run had moved away is back at `out` before the block.

    Raises:
        BadInput: a lock, which goes with its process, says that another run is writing there.
    """
    workplace = workplace_of(out)
    workplace.mkdir(parents=True, exist_ok=True)
    with (workplace / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"{out}: another run is writing it; wait for its end or choose another folder") from error
        try:
            if (workplace / _REPLACED).exists() and not out.exists():
                (workplace / _REPLACED).rename(out)  # a run was killed between its two renames
            for left in workplace.iterdir():
                if left.is_dir():
                    shutil.rmtree(left)
            yield workplace
        finally:
            shutil.rmtree(workplace, ignore_errors=True)


def opened_before_named(reader: Callable[[Path], Opened], folder: Path, out: Path) -> Opened:
    """Return what was written into a folder of `folder_appearing`, opened by the code that will read it.

    It is the last thing in the block, so that a folder which does not open never gets its name.

    Args:
        reader: opens the folder as everybody will.
        folder: that was filled.
        out: the name that it is to get.

    Raises:
        BadInput: it does not open; the sentence says why.

    Example:
        >>> with folder_appearing(Path("runs/model")) as folder:  # doctest: +SKIP
        ...     model.save_pretrained(folder)
        ...     opened_before_named(Checkpoint.open, folder, Path("runs/model"))
    """
    try:
        return reader(folder)
    except BadInput as error:
        told = str(error).replace(str(folder), str(out))
        raise BadInput(f"{out}: nothing was written, because the result does not open: {told}") from error


def write_text_whole(path: Path, text: str) -> None:
    """Write a file, in UTF-8, so that a reader meets the old content or the new one.

    A link stays one. What is no file, such as a device or a pipe, is written into and never replaced; so is the
    process's own output by its names, `/dev/stdout` and the like, wherever it goes.

    Raises:
        OSError: it cannot be written; the error names the file.
    """
    with naming_the_file(path):
        if (output := _own_output(path)) is not None:
            with os.fdopen(os.dup(output), "w", encoding="utf-8") as opened:
                opened.write(text)
            return
        if path.exists() and not path.is_file():  # a pipe of the shell's has no place that its link resolves to
            path.write_text(text, encoding="utf-8")
            return
        place = path.resolve()
        partial = place.with_name(f".{place.name}.partial")
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(place)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


def _own_output(path: Path) -> int | None:
    """Return which of the process's open outputs a path in /dev or /proc names; None where it names none."""
    if not path.exists() or not any(path.absolute().is_relative_to(system) for system in ("/dev", "/proc")):
        return None
    there = path.stat()
    for output in (sys.stdout, sys.stderr):
        output.flush()  # what was said before comes before it
    return next((number for number in (1, 2) if os.path.samestat(os.fstat(number), there)), None)


@contextmanager
def naming_the_file(path: Path) -> Iterator[None]:
    """Let the system's errors in the block name what is written: a full disk does not say which file it was.

    Example:
        >>> with naming_the_file(Path("/dev/full")), open("/dev/full", "w") as file:
        ...     _ = file.write("x")
        Traceback (most recent call last):
        OSError: [Errno 28] No space left on device: '/dev/full'
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def require_writable(folder: Path) -> None:
    """Make a folder in which files can be written, so that what cannot be written is known before any work.

    Raises:
        BadInput: that cannot be done.
    """
    require_makeable(folder)
    with _refused_in_words(folder):
        folder.mkdir(parents=True, exist_ok=True)


def require_makeable(folder: Path) -> None:
    """Require that files can be written in a folder, or that it can be made; nothing is made.

    Raises:
        BadInput: there is a file in the way, or nothing can be written there.
    """
    _try_below(folder, folder)


def require_room(out: Path) -> None:
    """Require that a folder can appear at `out`, beside which it will be filled; nothing is made.

    What lies at `out` already is for the caller to refuse.

    Raises:
        BadInput: it is the folder in which the process works, or one above it, or nothing can be written beside it.
    """
    here, place = Path.cwd(), out.resolve()
    if place in (here, *here.parents):
        raise BadInput(f"{out}: is the current folder, or holds it, and cannot be replaced; choose another place")
    _try_below(place.parent, out)


def require_writable_file(file: Path) -> None:
    """Require that a file can be written; one that is there is not touched, and no folder is made.

    Raises:
        BadInput: it is a folder, a file is where a folder should be, or nothing can be written there.

    Example:
        >>> require_writable_file(Path("/dev/null/scores"))
        Traceback (most recent call last):
        gen_rerank.errors.BadInput: /dev/null/scores: cannot be written (/dev/null is no folder); choose another place
    """
    with _refused_in_words(file):
        if file.is_dir():
            raise BadInput(f"{file}: is a folder; name a file")
        if file.is_file():
            os.close(os.open(file, os.O_WRONLY))
        elif not file.exists():  # a device or a pipe is not tried out
            _try_below(Path(os.path.realpath(file)).parent, file)


def require_apart(file: Path, read: Iterable[tuple[str, Path]]) -> None:
    """Require that writing a file replaces nothing that is read; a link to what is read counts as it.

    Args:
        file: that will be written.
        read: what is read, in words, and where it lies. Of a folder every file that is there counts, however deep.

    Raises:
        BadInput: it is a file that is read.

    Example:
        >>> require_apart(Path("docs/evaluation.json"), [("the data", Path("shop")), ("a model", Path("runs/model"))])
    """
    for what, place in read:
        if place.is_dir() and file.exists():
            taken = file.resolve().is_relative_to(place.resolve())
            taken = taken or any(_is_one_file(file, each) for each in place.rglob("*"))
        else:
            taken = _is_one_file(file, place)
        if taken:
            raise BadInput(f"{file}: is a file of {what} that is read; name another")


def _is_one_file(first: Path, second: Path) -> bool:
    """Return whether two paths lead to one file; two that are not there do where they are spelt alike in the end."""
    return first.samefile(second) if first.exists() and second.exists() else first.resolve() == second.resolve()


def is_full_disk(error: BaseException | None) -> bool:
    """Return whether an error, or one that it was raised from, is a full disk, a quota or a limit on the size of files.

    safetensors has an error of its own for it, which is known by its text.
    """
    if error is None:
        return False
    told = any(f"(os error {number})" in str(error) for number in _FULL)
    return (isinstance(error, OSError) and error.errno in _FULL) or told or is_full_disk(error.__cause__)


def _try_below(folder: Path, out: Path) -> None:
    """Write and remove a file in a folder, or in the nearest one above it that is there; `out` is what people named.

    Raises:
        BadInput: that cannot be done.
    """
    with _refused_in_words(out):
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists() or place.is_symlink())
        if not there.is_dir():
            raise BadInput(f"{out}: cannot be written ({there} is no folder); choose another place")
        trial = there / f".{os.getpid()}.partial"
        trial.touch(exist_ok=False)
        trial.unlink()


@contextmanager
def _refused_in_words(out: Path) -> Iterator[None]:
    """Say in one sentence that something cannot be written.

    Raises:
        BadInput: the system says so.
    """
    try:
        yield
    except OSError as error:
        raise BadInput(f"{out}: cannot be written ({error.strerror}); choose another place") from error
