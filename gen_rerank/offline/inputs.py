"""What is to be scored, cut into slices: which file, which rows, and a hash that knows the content again.

One slice becomes one shard of scores, and has its name from its place in the input. So the same input has the same
shards, whoever scores them and however often.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gen_rerank.data.reading import ENDINGS, RowReader
from gen_rerank.data.records import Record
from gen_rerank.data.slices import FileSlice, cut_file
from gen_rerank.errors import BadInput

# A slice's texts, at most; a thousand long descriptions are a shard too.
MOST_BYTES = 2**24


@dataclass(frozen=True)
class FileState:
    """What of a file is another one when somebody has written into it."""

    size: int
    changed_ns: int

    @classmethod
    def of(cls, file: Path) -> FileState:
        """Return it as it is now."""
        found = file.stat()
        return cls(found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class InputFile:
    """A file of rows.

    Attributes:
        path: where it is, from the root.
        name: under which it is known again, wherever its folder lies.
        sha256: of its content.
        rows: how many it has.
        state: when it was hashed.
    """

    path: Path
    name: str
    sha256: str
    rows: int
    state: FileState

    def require_unchanged(self) -> None:
        """Require that it is what was hashed.

        Raises:
            BadInput: it was written since, or is gone.
        """
        if not self.path.is_file():
            raise BadInput(f"{self.path}: is not there any more; put it back, and run the same command again")
        if FileState.of(self.path) != self.state:
            raise BadInput(f"{self.path}: was changed while it was scored; score what it holds now into another --out")


@dataclass(frozen=True)
class InputSlice:
    """Rows that become one shard.

    Attributes:
        shard: its name.
        file: that holds them.
        part: which rows of it.
    """

    shard: str
    file: InputFile
    part: FileSlice


@dataclass(frozen=True)
class Inputs:
    """All that is scored.

    Attributes:
        files: in the order of their names.
        slices: in the order of the files.
    """

    files: tuple[InputFile, ...]
    slices: tuple[InputSlice, ...]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(file.rows for file in self.files)

    @classmethod
    def read(cls, path: Path, record: type[Record], rows: int) -> Inputs:
        """Cut a file, or all files of a folder, reading each of them once.

        Args:
            path: a file, or a folder of files. What begins with a dot or an underscore is passed over.
            record: what a row is.
            rows: the most rows of a slice.

        Raises:
            BadInput: there is no such file, one of another form, or no row at all.

        Example:
            >>> Inputs.read(Path("pairs"), PairRow, 4096).slices[0].shard  # doctest: +SKIP
            '0000-000000'
        """
        files, slices = [], []
        for number, place in enumerate(_files(path)):
            file, parts = _cut(place, path, record, rows)
            files.append(file)
            slices += [InputSlice(f"{number:04}-{k:06}", file, part) for k, part in enumerate(parts)]
        found = cls(tuple(files), tuple(slices))
        if not found.rows:
            raise BadInput(f"{path}: no rows")
        return found


def _cut(place: Path, path: Path, record: type[Record], rows: int) -> tuple[InputFile, Sequence[FileSlice]]:
    RowReader(place, record).require_form()
    state = FileState.of(place)
    cut = cut_file(place, rows, MOST_BYTES)
    name = place.name if place == path else place.relative_to(path).as_posix()
    return InputFile(place.resolve(), name, cut.sha256, cut.rows, state), cut.slices


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        if not path.exists():
            raise BadInput(f"{path}: no such file or folder; give a file of rows, or a folder of such files")
        if not path.is_file():
            raise BadInput(f"{path}: is a pipe or a device, and is read more than once; write the rows to a file")
        if not path.name.endswith(ENDINGS):
            raise BadInput(f"{path}: rows are read from {', '.join(ENDINGS)}; name it so, or convert it")
        yield path
        return
    found = [each for each in sorted(path.rglob("*")) if each.is_file()]
    seen = [each for each in found if not any(part[0] in "._" for part in each.relative_to(path).parts)]
    for each in seen:
        if not each.name.endswith(ENDINGS):
            raise BadInput(f"{each}: rows are read from {', '.join(ENDINGS)}; convert it, or move it away")
    if not seen:
        raise BadInput(f"{path}: holds no files of rows ({', '.join(ENDINGS)})")
    yield from seen
