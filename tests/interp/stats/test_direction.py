"""The words for how often a layer's scores are turned round never say all of less than all."""

import pytest

from interp.stats.layer_choice import direction


@pytest.mark.parametrize("turned", [0.0, 0.003, 0.2, 0.6, 0.996, 0.99999, 1.0])
def test_all_of_the_choices_are_told_without_a_number_and_no_number_means_all(turned):
    said = direction(turned, "mass")
    assert ("of the choices" in said) == (turned not in (0.0, 1.0)) and " 100 %" not in said and " 0 %" not in said
    if 0 < min(turned, 1 - turned) < 0.005:
        assert "in >99 % of the choices" in said
