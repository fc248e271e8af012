"""A public data set is fetched from the hub, when somebody asks for it and never else."""

from __future__ import annotations

from pathlib import Path

from gen_rerank.errors import BadInput, first_line
from gen_rerank.system.publishing import require_makeable


def download(repository: str, source: Path) -> None:
    """Fetch the files of a data set on the hub into a folder; what is there already is not fetched again.

    Args:
        repository: its name, `owner/dataset`.
        source: the folder, which is made.

    Raises:
        BadInput: the hub cannot be reached, or gives no data set of this name, or the folder cannot be written.

    Example:
        >>> download("tasksource/esci", Path("esci"))  # doctest: +SKIP
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    require_makeable(source)
    try:
        snapshot_download(repository, repo_type="dataset", local_dir=source)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise BadInput(
            f"--download {repository}: the hub gives no data set of this name ({first_line(error)}); check the name "
            f"and the connection, or put the files into {source} yourself and leave --download out"
        ) from error
