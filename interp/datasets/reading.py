"""Reading samples by what a user calls them: a benchmark, or a folder of photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from interp.errors import InputError
from interp.store.names import given_path

if TYPE_CHECKING:
    from interp.objects.sample import Sample


def read_samples(
    dataset: str,
    folder: str | Path | None = None,
    *,
    n: int | None = None,
    images: str | Path | None = None,
    progress: bool = True,
) -> list[Sample]:
    """The samples of a benchmark by name, or of a folder of one's own photos.

    Raises:
        InputError: it is neither, or what `read_dataset` and `read_folder` refuse.

    Example:
        >>> len(read_samples("shapes", n=4))
        4
    """
    from interp.datasets.benchmarks.catalogue import BENCHMARKS
    from interp.datasets.benchmarks.reading import read_dataset
    from interp.datasets.own.folder import read_folder

    if dataset in BENCHMARKS:
        return read_dataset(dataset, folder, n=n, images=images, progress=progress)
    if not given_path(dataset).is_dir():
        raise InputError(f"{dataset!r} is no folder of photos and no data set: name one of {', '.join(BENCHMARKS)}")
    if folder is not None or images is not None:
        raise InputError("--folder and --images say where a benchmark lies: leave them out for a folder of photos")
    return read_folder(dataset, n=n, progress=progress)
