"""Arms of a knock-out: which edges of attention are cut, by name, and what controls them."""

from __future__ import annotations

OBJECT = "object->last"
"""The arm whose keys are those image tokens that the boxes of the sample's objects cover by half or more."""

RANDOM_IMAGE, RANDOM_TEXT = "random image->last", "random text->last"
"""The controls of `OBJECT`: as many keys, drawn among the other image tokens, or among the text."""

ARMS = (OBJECT, "image->text", "image->last", "text->last")
"""What is cut, as keys->rows: what flows from the first to the second. Text is what is behind the image, without the
last prompt token."""

CONTROLS = {OBJECT: (RANDOM_IMAGE, RANDOM_TEXT)}
"""The controls of an arm, which are measured along with it."""
