"""Samples of lines and grids: their labels are where their boxes lie."""

import numpy as np
import pytest

from interp.datasets.synthetic.lines import PAPER_GEOMETRIES
from interp.errors import InputError
from interp.study.sample_checks import check_samples
from probes.mechanisms.scenes.line_pairs import setting_of
from probes.mechanisms.scenes.line_samples import grid_samples, line_samples

QWEN = PAPER_GEOMETRIES["qwen2vl"]


@pytest.mark.parametrize(("axis", "along"), [("horizontal", 0), ("vertical", 1)])
def test_all_orders_of_six_items_are_drawn_and_slots_follow_the_axis(axis, along):
    samples = line_samples(setting_of("shapes"), QWEN, axis=axis)
    check_samples(samples[:3], progress=False)
    assert len({tuple(sample.meta["words"]) for sample in samples}) == 120
    assert len({sample.group for sample in samples}) == 20
    for sample in samples:
        centres = [box.centre for box in sample.meta["boxes"]]
        assert np.argsort([centre[along] for centre in centres]).tolist() == sample.meta["slots"]
        assert len({centre[1 - along] for centre in centres}) == 1
        assert [thing.name for thing in sample.objects] == sample.meta["items"]


@pytest.mark.parametrize("k", [2, 3])
def test_rows_and_columns_of_a_grid_are_where_its_boxes_lie(k):
    samples = grid_samples(setting_of("squares"), QWEN, k, n=4)
    check_samples(samples, progress=False)
    for sample in samples:
        for box, row, column in zip(sample.meta["boxes"], sample.meta["rows"], sample.meta["columns"], strict=True):
            x, y = box.centre
            assert (x, y) == centre_of(row, column, k)
        counts = np.unique(sample.meta["words"], return_counts=True)[1]
        assert counts.max() - counts.min() <= 1 and counts.max() == -(-(k * k) // 7)
    again = grid_samples(setting_of("squares"), QWEN, k, n=2)
    assert [sample.meta["words"] for sample in again] == [sample.meta["words"] for sample in samples[:2]]


def centre_of(row, column, k):
    start = (12 - k * 2 - (k - 1) * 2) // 2
    return tuple(28.0 * (start + 4 * place + 1) for place in (column, row))


def test_grids_and_lines_that_can_not_be_are_refused():
    with pytest.raises(InputError):
        grid_samples(setting_of("squares"), QWEN, 4)
    with pytest.raises(InputError):
        grid_samples(setting_of("squares"), QWEN, 2, n=0)
    with pytest.raises(InputError):
        line_samples(setting_of("squares"), QWEN, axis="diagonal")
    with pytest.raises(InputError, match="120 choices"):
        line_samples(setting_of("shapes"), QWEN, axis="vertical", n=121)
