"""Coverage: how often the intervals of 200 made-up tables hold the truth, against the binomial band of their level."""

from scipy.stats import binom

RUNS = 200
LEVEL = 0.95
FEWEST, MOST = (int(end) for end in binom.ppf((0.005, 0.995), RUNS, LEVEL))  # 181 and 197
"""What a two-sided binomial test at level 0.01 does not reject, were each interval right with probability 0.95."""


def check_coverage(held, *, fewest=FEWEST, most=MOST):
    """Hold the number of tables whose interval holds the truth to the band."""
    assert len(held) == RUNS
    assert fewest <= sum(map(bool, held)) <= most, f"{sum(map(bool, held))} of {RUNS} hold the truth"
