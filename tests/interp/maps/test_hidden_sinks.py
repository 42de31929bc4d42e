"""Sinks by their hidden state: those that were planted and no others."""

import math

import numpy as np
import pytest
import tiny
from made_up import layout_of, random_streams

from interp.errors import InputError
from interp.maps.hidden_sinks import hidden_sinks, sink_values
from interp.maps.sink_dimensions import SinkDimensions, find_sink_dimensions

WIDTH = 1024  # of the residual stream
RESIDUAL = "blocks.{}.hook_resid_pre".format


def test_the_sink_value_is_the_largest_sink_dimension_over_the_root_mean_square():
    stream = np.array([0.0, -3.0, 4.0, 0.0])  # root mean square 2.5
    assert sink_values(stream, [1]) == pytest.approx(1.2)
    assert sink_values(stream, SinkDimensions((1, 2), estimated=False)) == pytest.approx(1.6)
    assert np.isnan(sink_values(np.zeros(4), [1]))


def test_the_sink_value_has_the_root_of_the_width_as_its_limit_and_knows_no_scale():
    alone = np.zeros(WIDTH)
    alone[7] = -250.0
    assert sink_values(alone, [7, 9]) == pytest.approx(WIDTH**0.5)
    stream = np.random.default_rng(0).normal(size=(5, WIDTH))
    assert np.allclose(sink_values(stream, [7]), sink_values(1000 * stream, [7]))


def test_planted_sinks_are_found_in_their_layers_and_nothing_else_is():
    layout = layout_of(9, pads=3)
    cache = random_streams(layout, WIDTH)
    assert not hidden_sinks(cache, layout, [7, 500]).any()  # under the null
    for layer, token in [(2, 4), (3, 4), (3, 8)]:
        cache[RESIDUAL(layer)][1, layout.image_positions[token], 500] = -60.0
    found = hidden_sinks(cache, layout, [7, 500], sample=1)
    assert sorted(zip(*np.nonzero(found), strict=True)) == [(2, 4), (3, 4), (3, 8)] and found.shape == (4, 9)
    assert not hidden_sinks(cache, layout, [7, 500], sample=0).any()
    assert not hidden_sinks(cache, layout, [7], sample=1).any()


def test_a_token_is_a_sink_from_the_threshold_on():
    layout = layout_of(2)
    cache = {"blocks.0.hook_resid_pre": np.ones((1, layout.length, WIDTH))}
    height = 20 * ((WIDTH - 1) / (WIDTH - 400)) ** 0.5  # has a sink value of 20 among ones
    cache["blocks.0.hook_resid_pre"][0, layout.image_positions, 3] = [height * 1.001, height * 0.999]
    assert hidden_sinks(cache, layout, [3]).tolist() == [[True, False]]


def test_sink_values_of_a_real_run_equal_those_of_its_residual_streams():
    hooked = tiny.vlm()
    batch = tiny.inputs(hooked, 2)
    _, cache = hooked.run_with_cache(batch, names_filter=[RESIDUAL(layer) for layer in range(3)])
    for sample, layout in enumerate(batch.layouts):
        dimensions = find_sink_dimensions(cache, layout, sample=sample)
        found = hidden_sinks(cache, layout, dimensions, threshold=1.5, sample=sample)
        assert found.shape == (3, len(layout.image_positions)) and 0 < found.mean() < 1
        for layer in range(3):
            for token, position in enumerate(layout.image_positions):
                stream = cache["resid_pre", layer][sample, position].tolist()
                value = max(abs(stream[d]) for d in dimensions.dimensions)
                assert found[layer, token] == (value >= 1.5 * math.sqrt(sum(x * x for x in stream) / len(stream)))


def test_a_threshold_that_no_stream_of_this_width_can_reach_is_refused():
    layout = layout_of(4)
    narrow = {"blocks.0.hook_resid_pre": np.ones((1, layout.length, 128))}
    with pytest.raises(InputError, match="128 no sink value exceeds 11.3.*20 marks no token"):
        hidden_sinks(narrow, layout, [3])


@pytest.mark.parametrize(
    ("cache", "dimensions", "message"),
    [
        ({}, [3], r"layers \[\]"),
        ({"blocks.1.hook_resid_pre": np.ones((1, 20, WIDTH))}, [3], r"layers \[1\].*from 0 on"),
        ({"vision.blocks.0.hook_resid_pre": np.ones((1, 20, WIDTH))}, [3], r"layers \[\]"),
        ({"blocks.0.hook_resid_pre": np.ones((20, WIDTH))}, [3], "batch axis"),
        ({"blocks.0.hook_resid_pre": np.ones((1, 20, WIDTH))}, [WIDTH], "from 0 to 1023"),
        ({"blocks.0.hook_resid_pre": np.ones((1, 20, WIDTH))}, [], r"dimensions \[\]"),
    ],
)
def test_streams_and_dimensions_that_do_not_fit_are_refused(cache, dimensions, message):
    with pytest.raises(InputError, match=message):
        hidden_sinks(cache, layout_of(4), dimensions)
