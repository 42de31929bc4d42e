"""Policies: the baseline, ScalingVis and AdaptVis, the confidence they go by, and answering under them."""
