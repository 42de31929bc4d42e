"""A study of the probes: a measurement over a data set, recorded, kept, and gone on with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Shaped

from interp.errors import InputError
from interp.numeric import agree, counted

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

ONE_GROUP = "its samples lie in fewer than three groups, so that nothing says how sure it is"
"""The reason for which a measure has no interval, and is left out."""


class Measurement(Protocol):
    """What is measured of each batch of samples, and what of that a record has to say."""

    @property
    def vlm(self) -> HookedVLM:
        """The model."""

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model and the samples."""

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be measured, before the first pass."""

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample, as `interp.study.run.run_study` takes them."""


def measure_samples(
    samples: Sequence[Sample],
    work: Measurement,
    study: str,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    batch: int = 16,
    progress: bool = True,
    record: Mapping[str, Any] | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Measure every sample once, see `run_study`; the table, and the record of what made it.

    Args:
        samples: what to measure, each with an id of its own.
        work: what is measured.
        study: the name of the study, for its record.
        out: a folder that keeps what was measured, so that it can be resumed; None keeps nothing.
        resume: go on with what the folder holds.
        batch: samples that are measured together.
        progress: show a progress bar.
        record: more to record beside the settings, such as the data set.

    Raises:
        InputError: samples that can not be measured, or a folder that can not be used; all before the first pass.
    """
    from interp.study.run import read_study

    how: dict[str, Any] = {"out": out, "resume": resume, "batch": batch, "progress": progress, "record": record}
    with measured_samples(samples, work, study, **how) as (folder, settings):
        return read_study(folder)[0], settings


@contextmanager
def measured_samples(
    samples: Sequence[Sample],
    work: Measurement,
    study: str,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    batch: int = 16,
    progress: bool = True,
    record: Mapping[str, Any] | None = None,
    flush_seconds: float = 10.0,
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Measure as `measure_samples`, and give the folder that holds all rows, see `kept_study`; and the record.

    Raises:
        InputError: samples that can not be measured, or a folder that can not be used; all before the first pass.
    """
    from interp.model.provenance import run_record
    from interp.model.record import record as record_of
    from interp.model.record import refuse_recorded
    from interp.store.folder import plain
    from interp.study.run import kept_study, with_runs
    from interp.zoo.domain import remarks_on_images

    run = run_record()
    batch = check_how(out=out, resume=resume, batch=batch, progress=progress, record=record)
    work.check(samples, progress=progress)
    settings = record_of(work.vlm, study=study, **work.recorded(), **run)
    remarks = remarks_on_images(work.vlm.origin.get("model", ""), [sample.image for sample in samples])
    settings |= {"remarks": remarks} if remarks else {}
    refuse_recorded(record, settings)
    settings |= record or {}
    how: dict[str, Any] = {"batch": batch, "resume": resume, "progress": progress, "label": study}
    with kept_study(samples, work, out, settings=settings, flush_seconds=flush_seconds, **how) as folder:
        yield folder, plain(settings if out is None else with_runs(settings, folder))


def check_how(*, out: Any, resume: Any, batch: Any, progress: Any, record: Any, parts: Sequence[str] = ("",)) -> int:
    """Refuse what no study can be run with, see `measure_samples`; the batch as a plain number.

    A tool asks for it first where it runs several studies, so that none of them runs in vain.

    Args:
        out: as in `measure_samples`, like the others but `parts`.
        resume: see there.
        batch: see there.
        progress: see there.
        record: see there.
        parts: the folders inside `out` that its studies are kept in; by default the folder itself.

    Raises:
        InputError: a folder, a number, a truth value or a record that is none, a folder that can not be written, or one
            that holds what is not to be gone on with.
    """
    from interp.model.record import refuse_recorded
    from interp.store.folder import OutputFolder
    from interp.store.guard import holds_study, refuse_begun
    from interp.study.run import check_running

    refuse_recorded(record, ())
    batch = check_running(out, batch=batch, resume=resume, progress=progress)
    if out is not None:
        folder = OutputFolder(out).path
        refuse_begun(folder, resume=resume, parts=parts)
        if "" not in parts and holds_study(folder):
            raise InputError(f"{str(folder)!r} holds a study of another tool: name another folder")
    return batch


def check_model(vlm: HookedVLM) -> None:
    """Refuse what is no hooked model.

    Raises:
        InputError: it is none.
    """
    from interp.model.hooked import HookedModel

    if not isinstance(vlm, HookedModel):
        raise InputError(f"the model is a {type(vlm).__name__}: load it with HookedVLM.from_pretrained first")


def check_asked(
    vlm: HookedVLM, samples: Sequence[Sample], prompt: str, *, system: str | None = None, progress: bool = True
) -> None:
    """Refuse samples that can not be asked, before the first pass.

    Raises:
        InputError: a photo can not be read, or a question can not be put to the model.
    """
    from interp.study.sample_checks import check_prompts, check_samples

    check_samples(samples, progress=progress)
    check_prompts(vlm, samples, prompt, system=system, progress=progress)


def groups_of(samples: Sequence[Sample]) -> Shaped[np.ndarray, " sample"]:
    """What is drawn together: the samples' groups; one that names none is a group of its own.

    Raises:
        InputError: there are no samples, or fewer than two groups.
    """
    import pandas as pd

    from interp.stats.clusters import group_names
    from interp.study.keys import check_ids

    check_ids(samples)
    if not len(samples):
        raise InputError("there are no samples to ask: give at least two groups of them")
    groups = group_names(pd.DataFrame({"group": [sample.group for sample in samples]}))
    if len(set(groups)) < 2:
        raise InputError(
            f"{counted(len(samples), 'sample')} {agree(len(samples), 'lies', 'lie')} in "
            f"{counted(len(set(groups)), 'group')}: give at least two groups"
        )
    return groups
