"""Arms of SHA: what a question is shown with, by name, and the control of boxes and masks in other places."""

ORIGINAL, BOX, MASK, BOTH = "original", "bbox", "mask", "bbox_mask"
ELSEWHERE = "elsewhere"
"""The control: as many boxes and masks of the same sizes, where no object is."""

ARMS = (ORIGINAL, BOX, MASK, BOTH)
"""The four arms of "Attention in Space" (arXiv 2603.20662)."""

TITLES = {
    ORIGINAL: "original",
    BOX: "+BBox",
    MASK: "+Mask",
    BOTH: "+BBox+Mask",
    ELSEWHERE: "+BBox+Mask elsewhere",
}
"""What the paper calls them."""

BOXED = (BOX, BOTH, ELSEWHERE)
"""Arms with boxes."""

MASKED = (MASK, BOTH, ELSEWHERE)
"""Arms with masks."""

BOXES = ("drawn", "text", "both")
"""How boxes are given: drawn into the photo, written before the question, or both."""

PLACEMENTS = ("in_place", "beside")
"""Where the masked copy stands: in the place of the photo, or to its right, in one wider photo."""
