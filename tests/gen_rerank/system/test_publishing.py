"""Folders appear whole or not at all: a failure, a second run and a killed one leave what was there."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from gen_rerank import BadInput
from gen_rerank.system.publishing import (
    folder_appearing,
    is_full_disk,
    naming_the_file,
    opened_before_named,
    refuse_taken,
    require_apart,
    require_makeable,
    require_room,
    require_writable,
    require_writable_file,
    workplace_of,
    write_text_whole,
)

FILE = "card.json"


def replace_all(_: Path) -> None:
    """Refuse nothing."""


def test_a_failing_overwrite_keeps_the_old_folder(tmp_path: Path) -> None:
    def write(text: str, *, fail: bool) -> None:
        with folder_appearing(out, replace_all) as folder:
            (folder / FILE).write_text(text)
            if fail:
                raise RuntimeError("boom")

    out = tmp_path / "out"
    write("old", fail=False)
    with pytest.raises(RuntimeError, match="boom"):
        write("new", fail=True)
    assert (out / FILE).read_text() == "old"
    write("new", fail=False)
    assert (out / FILE).read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


def test_two_runs_to_one_folder_do_not_touch_each_other(tmp_path: Path) -> None:
    with folder_appearing(tmp_path / "out") as first:
        (first / FILE).write_text("first")
        with (
            pytest.raises(BadInput, match="another run is writing it"),
            folder_appearing(tmp_path / "out", replace_all),
        ):
            pass
        with folder_appearing(tmp_path / "other"):
            pass
    assert (tmp_path / "out" / FILE).read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_what_a_killed_run_left_goes_with_the_next(tmp_path: Path) -> None:
    """A process that was killed in the middle wrote this much, and its lock went with it."""
    child = os.fork()
    if child == 0:
        try:
            with folder_appearing(tmp_path / "out") as folder:
                (folder / "model.safetensors").write_text("half")
                os.kill(os.getpid(), signal.SIGKILL)
        finally:  # no second pytest, whatever happens
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1, "something was left"
    with folder_appearing(tmp_path / "out") as folder:
        assert list(folder.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_a_killed_run_had_moved_away_is_back(tmp_path: Path) -> None:
    """Killed between the two renames: the old folder lies in the workplace, and nothing at the target."""
    out = tmp_path / "out"
    replaced = workplace_of(out) / "replaced"
    replaced.mkdir(parents=True)
    (replaced / "old").write_text("old")
    with pytest.raises(BadInput, match="already exists"), folder_appearing(out):
        pass
    assert [path.name for path in out.iterdir()] == ["old"]
    with folder_appearing(out, lambda place: None) as folder:
        (folder / "new").write_text("new")
    assert [path.name for path in out.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_something_that_lies_there_is_refused_before_and_after(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with folder_appearing(out) as folder:
        (folder / FILE).write_text("ours")
    assert (out / FILE).read_text() == "ours", "an empty folder is nothing"
    for taken in (out, out / FILE):
        with pytest.raises(BadInput, match="already exists; choose another place"):
            refuse_taken(taken)
    with pytest.raises(BadInput, match="already exists"), folder_appearing(out):
        raise AssertionError("the block ran")

    def theirs_meanwhile() -> None:
        with folder_appearing(tmp_path / "other"):
            (tmp_path / "other").mkdir()
            (tmp_path / "other" / FILE).write_text("theirs")

    with pytest.raises(BadInput, match="already exists"):
        theirs_meanwhile()
    assert (tmp_path / "other" / FILE).read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_files_are_for_everybody(tmp_path: Path) -> None:
    with folder_appearing(tmp_path / "out") as folder:
        (folder / "deep").mkdir(mode=0o700)
        (folder / "deep" / FILE).write_text("x")
        (folder / "deep" / FILE).chmod(0o600)
    modes = [(tmp_path / "out" / name).stat().st_mode & 0o777 for name in ("deep", f"deep/{FILE}")]
    assert modes == [0o755, 0o644]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / FILE
    write_text_whole(file, "old")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_text_whole(file, "new")
    monkeypatch.undo()
    assert file.read_text() == "old"
    write_text_whole(file, "né")
    assert file.read_bytes() == "né".encode()
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_what_cannot_be_written_is_known_before_any_work(tmp_path: Path) -> None:
    require_writable(tmp_path / "deep" / "out")
    assert list((tmp_path / "deep" / "out").iterdir()) == []
    (tmp_path / "file").write_text("here")
    with pytest.raises(BadInput, match="cannot be written"):
        require_writable(tmp_path / "file")


@pytest.fixture
def unwritable(tmp_path: Path) -> list[Path]:
    """Places for a file that can be known to fail: below a file, in a system's own folder, a name too long."""
    (tmp_path / "file").write_text("here")
    (tmp_path / "nowhere").symlink_to("/proc/none/x")
    names = (tmp_path / "file" / "x", Path("/dev/null/x"), Path("/proc/x"), tmp_path / ("x" * 300))
    return [*names, tmp_path / "nowhere", tmp_path / "file" / "deep" / "x"]


def test_a_file_that_cannot_be_written_is_known_before_any_work(tmp_path: Path, unwritable: list[Path]) -> None:
    for place in unwritable:
        with pytest.raises(BadInput, match=r"cannot be written \(.*\); choose another place"):
            require_writable_file(place)
    for folder in (tmp_path, Path(), Path("/")):
        with pytest.raises(BadInput, match="is a folder; name a file"):
            require_writable_file(folder)


def test_a_check_touches_nothing(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("mine")
    before = old.stat().st_mtime_ns
    for file in (old, tmp_path / "new", tmp_path / "deep" / "new", Path("/dev/null"), Path("/dev/stdout")):
        require_writable_file(file)
    require_makeable(tmp_path / "deep")
    require_room(tmp_path / "deep" / "out")
    assert (old.read_text(), old.stat().st_mtime_ns) == ("mine", before)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_cannot_appear_is_known_before_any_work(
    unwritable: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *below, _, _, deep = unwritable
    for place in (*below, deep):
        with pytest.raises(BadInput, match="cannot be written"), folder_appearing(place):
            pytest.fail("the work began")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for place in (Path(), Path(".."), Path("/")):
        with pytest.raises(BadInput, match="is the current folder, or holds it"):
            require_room(place)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_known_by_its_number_or_its_text(number: int) -> None:
    system = OSError(number, "No space left on device")
    # What safetensors 0.8.0 makes of a full file system.
    wrapped = SafetensorError(f"Error while serializing: I/O error: No space left on device (os error {number})")
    raised = BadInput("could not be written")
    raised.__cause__ = system
    assert all(map(is_full_disk, (system, wrapped, raised)))
    assert not any(map(is_full_disk, (None, BadInput("no"), PermissionError(errno.EACCES, "no"))))


def test_what_does_not_open_never_gets_its_name(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def read(folder: Path) -> None:
        raise BadInput(f"{folder / 'card'}: not a card")

    def publish() -> None:
        with folder_appearing(out) as folder:
            (folder / "card").write_text("{")
            opened_before_named(read, folder, out)

    with pytest.raises(BadInput) as caught:
        publish()
    told = f"{out}: nothing was written, because the result does not open: {out / 'card'}: not a card"
    assert str(caught.value) == told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("through", ["a pipe", "a file"])
def test_the_own_output_is_written_into_wherever_it_goes(tmp_path: Path, name: str, through: str) -> None:
    """What was said before and after it stands where it was said."""
    program = f"""
from pathlib import Path
from gen_rerank.system.publishing import require_writable_file, write_text_whole
print("before")
require_writable_file(Path({name!r}))
write_text_whole(Path({name!r}), "told\\n")
print("after")
"""
    command = [sys.executable, "-c", program]
    if through == "a pipe":
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    else:
        with (tmp_path / "out").open("w") as out:
            subprocess.run(command, stdout=out, check=True)
        said = (tmp_path / "out").read_text()
        assert list(tmp_path.iterdir()) == [tmp_path / "out"]
    assert said == "before\ntold\nafter\n"


def test_a_link_stays_one_and_a_pipe_is_written_into(tmp_path: Path) -> None:
    """What is no file is never replaced by one: a report may go to /dev/null."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_text_whole(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text_whole(pipe, "told")
    assert os.read(reader, 10) == b"told"
    os.close(reader)
    assert pipe.is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe", "target"]


def test_an_error_names_what_was_written() -> None:
    with pytest.raises(OSError, match="'here'") as full, naming_the_file(Path("here")):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert is_full_disk(full.value)
    with pytest.raises(OSError, match="'there'"), naming_the_file(Path("here")):
        raise OSError(errno.ENOSPC, "No space left on device", "there")


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    """A file, a file deep in a folder, and links of both kinds; a new file beside them is nobody's."""
    folder, file = tmp_path / "model", tmp_path / "e.json"
    (folder / "deep").mkdir(parents=True)
    inside = folder / "deep" / "weights"
    for each in (inside, file):
        each.write_text("x")
    (tmp_path / "soft").symlink_to(inside)
    (tmp_path / "hard").hardlink_to(inside)
    (tmp_path / "folder").symlink_to(folder)
    read = [("the model", folder), ("the baseline", file), ("the data", tmp_path / "none.jsonl")]
    for place in (inside, tmp_path / "soft", tmp_path / "hard", tmp_path / "folder" / "deep" / "weights"):
        with pytest.raises(BadInput, match=r"(weights|soft|hard): is a file of the model that is read; name another"):
            require_apart(place, read)
    for place, what in ((file, "baseline"), (tmp_path / "none.jsonl", "data")):
        with pytest.raises(BadInput, match=f"is a file of the {what} that is read"):
            require_apart(place, read)
    for place in (tmp_path / "new.json", folder / "new.json", Path("/dev/null")):
        require_apart(place, read)
