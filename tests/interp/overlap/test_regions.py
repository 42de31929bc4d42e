"""Regions: in their order, told apart, and with the centre of what was seen of them."""

import numpy as np
import pytest
from made_up import square_grid
from whole_pixels import BOX, GRID, GRIDS

from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.overlap.regions import region_of, regions_of


def test_the_centre_of_a_region_is_that_of_its_seen_area_counted_once():
    grid = GRIDS["cropped"]  # sees x 4 to 44
    cut = region_of([Box("mug", (0, 0, 14, 10))], grid)
    assert cut.centre == pytest.approx((9, 5))
    two = region_of([Box("mug", (8, 8, 16, 16)), Box("cup", (8, 8, 16, 16)), Box("pen", (32, 8, 40, 24))], grid)
    assert two.centre == pytest.approx(((64 * 12 + 128 * 36) / 192, (64 * 12 + 128 * 16) / 192))


def test_regions_by_role_come_in_their_order_with_the_union_and_the_contrast_last():
    mug, cup, pen = Box("mug", (0, 0, 9, 9)), Box("mug", (20, 0, 29, 9)), Box("pen", (30, 30, 40, 38))
    found = regions_of((), {"first": Boxes((mug, cup)), "second": [pen]}, ("first", "second"), GRID)
    assert [region.name for region in found] == ["first", "second", "union", "first minus second"]
    assert [region.objects for region in found] == [2, 1, 3, 3]
    assert np.array_equal(found[2].mask, np.maximum(found[0].mask, found[1].mask))
    assert found[3].area_share == pytest.approx(found[0].area_share - found[1].area_share)


def test_a_box_of_two_roles_counts_once_in_the_union():
    same = Box("cup", (0, 0, 9, 9))
    found = regions_of((), {"first": [same], "second": [same]}, None, square_grid((48, 48), 6))
    assert [region.objects for region in found] == [1, 1, 1]


@pytest.mark.parametrize(
    ("boxes", "roles", "contrast", "message"),
    [
        ([BOX], {"first": [BOX]}, None, "both given"),
        ((), {"union": [BOX]}, None, "rename"),
        ((), {"first": [BOX]}, ("first", "second"), "give two different ones of first, union"),
        ((), {"first": [BOX]}, ("first", "first"), "two different"),
        ((), {"a": [BOX], "b": [], "a minus b": []}, ("a", "b"), "rename"),
    ],
)
def test_regions_that_can_not_be_told_apart_are_refused(boxes, roles, contrast, message):
    with pytest.raises(InputError, match=message):
        regions_of(boxes, roles, contrast, GRID)
