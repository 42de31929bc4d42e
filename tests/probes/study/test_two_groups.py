"""Two groups: no number has an interval, and no title, legend or caption names one."""

from dataclasses import replace

import pytest
from matplotlib.text import Text

from interp.datasets.synthetic.shapes import shapes
from interp.model.hooked_vlm import HookedVLM
from probes import examine_position
from probes.position.report.position import TOOLS


@pytest.fixture(scope="module")
def pages():
    vlm = HookedVLM.from_pretrained("tiny-llava")
    samples = [replace(one, group="ab"[n % 2]) for n, one in enumerate(shapes(4, kinds=("relation",)))]
    return examine_position(vlm, samples, progress=False).found


@pytest.mark.parametrize("tool", TOOLS)
def test_of_two_groups_no_interval_is_named(pages, tool):
    page = pages[tool]
    assert page.few == ("The numbers are of 2 groups: what is drawn by group has no interval of fewer than 3.",)
    assert page.figures and "CI" not in " ".join(page.sentences)
    for one in page.figures.values():
        drawn = [text.get_text() for text in one.figure.findobj(Text)]
        for said in (one.title, one.caption, *drawn):
            assert "interval" not in said and "Band" not in said and "band" not in said, said
