"""Sink dimensions: those that were planted are estimated, and published ones are no estimate."""

import pytest
from made_up import layout_of, random_streams

from interp.errors import InputError
from interp.maps.sink_dimensions import (
    SINK_DIMENSIONS,
    SinkDimensions,
    find_sink_dimensions,
    published_sink_dimensions,
)

WIDTH = 1024  # of the residual stream
RESIDUAL = "blocks.{}.hook_resid_pre".format


def test_the_dimensions_that_were_planted_at_the_first_position_are_estimated():
    layout = layout_of(9, pads=3)
    cache = random_streams(layout, WIDTH)
    for layer in (2, 3):
        cache[RESIDUAL(layer)][0, 3, [81, 700]] = [-90.0, 40.0]  # behind the padding
        cache[RESIDUAL(layer)][0, 0, 5] = 900.0  # padding
    cache["blocks.0.hook_resid_pre"][0, 3, 9] = 500.0  # before sinks form
    found = find_sink_dimensions(cache, layout)
    assert found.dimensions == (81, 700) and found.estimated
    assert found.ratios == pytest.approx((90 / 0.6745, 40 / 0.6745), rel=0.1)  # median of |normal|
    assert "estimate" in found.describe() and "81, 700" in found.describe()
    assert max(find_sink_dimensions(random_streams(layout, WIDTH), layout).ratios) < 10  # under the null


def test_published_dimensions_are_given_by_checkpoint_and_are_no_estimate():
    found = published_sink_dimensions("llava-hf/llava-1.5-7b-hf")
    assert found == SinkDimensions((1415, 2533), estimated=False) and "published" in found.describe()
    assert max(max(places) for places in SINK_DIMENSIONS.values()) < 5120
    with pytest.raises(InputError, match="find_sink_dimensions"):
        published_sink_dimensions("Qwen/Qwen2.5-VL-7B-Instruct")


@pytest.mark.parametrize("options", [{"skip_layers": 4}, {"count": 0}, {"count": WIDTH + 1}])
def test_an_estimate_from_nothing_is_refused(options):
    layout = layout_of(4)
    with pytest.raises(InputError, match="leave nothing"):
        find_sink_dimensions(random_streams(layout, WIDTH), layout, **options)
