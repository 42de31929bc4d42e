"""Memory of the dual mechanisms: measuring pair after pair holds no tensor of a pair, and no more at its worst."""

from functools import partial

import pytest
from bench_line import peak_bytes
from planted_lines import lines_and_reverse, load

from probes.mechanisms.ablation import measurement as ablation
from probes.mechanisms.ablation.measurement import AblationMeasurement
from probes.mechanisms.ablation.ordered_photos import photos_of_lines
from probes.mechanisms.ablation.swap import LostOrdering
from probes.mechanisms.dual.study import SWEEPS
from probes.mechanisms.interchange.measurement import InterchangeMeasurement


def swapping(vlm, pairs, positions, under=None):
    """What the study of a sweep calls, and the samples that stand for the pairs."""
    work = InterchangeMeasurement.of(vlm, pairs, positions, under=under)
    return work, [pair.as_sample() for pair in pairs]


def backup(vlm, pairs):
    return swapping(vlm, pairs, "object", LostOrdering(AblationMeasurement.of(vlm, []), "removed"))


def ablate(vlm, pairs):
    photos = photos_of_lines(vlm, [pair.clean for pair in pairs])
    return AblationMeasurement.of(vlm, photos), [photo.as_sample() for photo in photos]


MEASURED = {name: partial(swapping, positions=name) for name in SWEEPS} | {"backup": backup, "ablate": ablate}


def needed(make, count):
    """The most bytes of tensors while so many pairs are measured one after another, all rows kept.

    They are two pairs in turn, so that none needs more by itself than another.
    """
    vlm = load("planted-encoder")
    work, samples = make(vlm, lines_and_reverse(vlm, 2, directions=("left",)))
    rows = []
    most = peak_bytes(lambda: [rows.append(work([samples[place % 2]])) for place in range(count)], "cpu")
    assert len(rows) == count
    return most


@pytest.mark.parametrize("name", MEASURED)
def test_eight_pairs_need_no_more_than_two(name, monkeypatch):
    monkeypatch.setattr(ablation, "KNOWN", 2)  # so that those few that are kept are as many from the first pair on
    assert needed(MEASURED[name], 8) - needed(MEASURED[name], 2) < 2**10


def test_what_a_measurement_keeps_of_each_pair_is_seen():
    def keeps(vlm, pairs):
        work, samples = swapping(vlm, pairs, "object")
        kept = []
        return lambda given: kept.append(work.prepared([work.pairs[given[0].id]])), samples

    assert needed(keeps, 8) - needed(keeps, 2) > 2**14
