"""Packed attention maps come back within the bound that they state."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from made_up_explore import assert_within, from_blob

from interp.errors import InputError
from interp.page.packing import DIGITS, pack, to_blob


@given(arrays(np.float32, array_shapes(min_dims=1, max_dims=3, max_side=9), elements=st.floats(0, 1, width=32)))
def test_packed_weights_come_back_within_the_bound(weights):
    for bits in (8, 16):
        packed = pack(weights, bits=bits)
        assert_within(packed.unpack(), weights.astype(np.float64), packed.bound)


def test_the_bound_of_a_byte_is_under_three_per_cent_and_is_reached():
    weights = np.exp(np.random.default_rng(0).uniform(np.log(1e-6), 0, (20, 500)))
    packed = pack(weights, bits=8)
    error = np.abs(packed.unpack() / weights - 1).max()
    assert 0.8 * packed.bound < error <= packed.bound < 0.0277
    assert pack(weights, bits=16).bound < 2e-4


def test_levels_mean_what_the_docstring_says():
    packed = pack(np.array([0.5, 0.02, 0.25, 0.0, 1e-9]), bits=8)
    low, top, levels = float(packed.low), float(packed.top), packed.levels.tolist()
    assert (levels[0], levels[1], levels[3], levels[4]) == (
        255,
        1 + round(254 * np.log(0.02 / low) / np.log(top / low)),
        0,
        0,
    )
    naive = [0.0 if level == 0 else low * (top / low) ** ((level - 1) / 254) for level in levels]
    np.testing.assert_allclose(packed.unpack(), naive, rtol=1e-9)


def test_maps_of_zeros_and_of_one_weight_are_exact():
    weights = np.array([[0, 0, 0], [0.25, 0.25, 0.25], [0, 1, 0]], dtype=np.float32)
    packed = pack(weights, bits=8)
    assert packed.unpack().tolist() == weights.tolist() and packed.bound < 1e-5


def test_nothing_is_dropped_with_a_floor_of_zero():
    weights = np.array([1.0, 1e-12])
    assert pack(weights, bits=16).unpack()[1] == 0
    assert pack(weights, bits=16, floor=0.0).unpack()[1] == pytest.approx(1e-12, rel=1e-3)


@pytest.mark.parametrize("weights", [[-0.1, 1], [np.nan, 1], [np.inf, 1], [], 0.5], ids=str)
def test_what_can_not_be_weights_is_refused(weights):
    with pytest.raises(InputError, match="after softmax"):
        pack(np.array(weights), bits=8)


def test_another_number_of_bits_is_refused():
    with pytest.raises(InputError, match="8, 16"):
        pack(np.ones(3), bits=4)


def test_blobs_come_back():
    for dtype in (np.uint8, np.uint16, np.int32, np.float32):
        array = np.arange(6, dtype=dtype).reshape(2, 3)
        back = from_blob(json.loads(json.dumps(to_blob(array))))
        assert back.dtype == dtype and back.tolist() == array.tolist()


def test_a_blob_is_written_in_digits_that_mean_nothing_to_a_page():
    assert len(set(DIGITS)) == 85 and DIGITS.isascii() and DIGITS.isprintable()
    assert not set("<>&\"'\\ /") & set(DIGITS)
    array = np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8)
    data = to_blob(array)["data"]
    assert set(data) == set(DIGITS) and len(data) == 5000
    number = 0
    for digit in data[:5]:
        number = 85 * number + DIGITS.index(digit)
    assert number.to_bytes(4, "big") == array[:4].tobytes()
