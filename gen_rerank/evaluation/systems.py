"""What the systems of one evaluation are called: by folder, by place where folders are called alike, floors, baseline.

Tables print these names, and gates take them. What a system scores is not this module's business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase

from gen_rerank.errors import BadInput
from gen_rerank.evaluation.floors import FLOORS

BASELINE = "baseline"


@dataclass(frozen=True)
class SystemNames:
    """The names of all systems, no two of them equal, in upper or lower case.

    Attributes:
        models: in the order given; the first one's place is A.
        baseline: whether there is a saved evaluation beside them.
        given: the models as they were given, which says who is meant where folders are called alike.
    """

    models: tuple[str, ...]
    baseline: bool = False
    given: tuple[str, ...] = ()

    @classmethod
    def of(cls, models: Sequence[str], adapter: str | None = None, *, baseline: bool = False) -> SystemNames:
        """Name models by their folders, and by their places those whose folders are called alike.

        Args:
            models: folders or hub names, in order.
            adapter: on the only model.
            baseline: whether there is one.

        Raises:
            BadInput: a folder is called like the place of another model, a floor or the baseline, so that nobody could
                tell whom a table or a gate means; or there are more models than letters.

        Example:
            >>> SystemNames.of(["runs/nano", "runs/small"]).models
            ('nano', 'small')
            >>> SystemNames.of(["monday/model", "friday/model"]).models
            ('A', 'B')
        """
        if len(models) > len(ascii_uppercase):
            raise BadInput(f"{len(models)} models are too many for one table; give at most {len(ascii_uppercase)}")
        folders = [" + ".join(_folder_name(part) for part in (model, adapter) if part) for model in models]
        _require_own_names(models, folders, (*FLOORS, *([BASELINE] if baseline else [])))
        count = Counter(name.casefold() for name in folders)
        kept = [
            name if count[name.casefold()] == 1 else place
            for name, place in zip(folders, ascii_uppercase, strict=False)
        ]
        return cls(tuple(kept), baseline, tuple(models))

    @property
    def places(self) -> dict[str, str]:
        """The name of the model in each place, by its letter."""
        return dict(zip(ascii_uppercase, self.models, strict=False))

    @property
    def printed(self) -> tuple[str, ...]:
        """All names, in the order of tables: floors, baseline, models."""
        return (*FLOORS, *([BASELINE] if self.baseline else []), *self.models)

    @cached_property
    def _known(self) -> dict[str, str]:
        places = {place.casefold(): name for place, name in self.places.items()}
        return {name.casefold(): name for name in self.printed} | places

    def has(self, written: str) -> bool:
        """Return whether a text is the name or the place of a system, in upper or lower case."""
        return written.casefold() in self._known

    def find(self, written: str) -> str:
        """Return the name of the system that somebody means: its name or its place, in upper or lower case.

        Raises:
            BadInput: there is none; the sentence names those that there are.

        Example:
            >>> SystemNames.of(["runs/nano", "runs/small"]).find("b")
            'small'
        """
        if not self.has(written):
            given = self.given or self.models
            shown = [given[k] if place == name else name for k, (place, name) in enumerate(self.places.items())]
            models = [f"{place} ({name})" for place, name in zip(self.places, shown, strict=True)]
            rest = [name for name in self.printed if name not in self.models]
            raise BadInput(f"there is no system {written!r}; there are {', '.join([*models, *rest])}")
        return self._known[written.casefold()]


def _require_own_names(models: Sequence[str], folders: Sequence[str], rows: Sequence[str]) -> None:
    """Refuse a folder that is called like another row, or like the place of another model.

    Raises:
        BadInput: there is one; in a table, and in a gate, nobody could tell which of the two is meant.
    """
    for own, given, folder in zip(ascii_uppercase, models, folders, strict=False):
        others = {row.casefold(): f"the row {row!r}" for row in rows} | {
            place.casefold(): f"the place of {other} (models are A, B, C in the order given)"
            for place, other in zip(ascii_uppercase, models, strict=False)
            if place != own
        }
        if folder.casefold() in others:
            raise BadInput(
                f"{given}: {folder!r} is also {others[folder.casefold()]}, so nobody could tell whom a gate means; "
                "rename the folder, or give a link to it with another name"
            )


def _folder_name(given: str) -> str:
    return Path(given).name or Path(given).resolve().name
