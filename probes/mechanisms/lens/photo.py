"""Photo lens: what the unembedding says of each image token of one photo, at every slot of the language model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int

from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.image.grid import ImageGrid


@fits_a_cell("sample_id words grid")
@dataclass(frozen=True, eq=False)
class PhotoLens:
    """What each image token of one photo says, by slot: 0 is what enters block 0, l what leaves block l - 1.

    Attributes:
        sample_id: which sample.
        words: the words that were looked for.
        top: text of the most probable tokens, [slot token place], first to last.
        top_probability: float32 [slot token place].
        probability: float32 [slot token word], of all spellings of a word that are one token, together.
        rank: int32 [slot token word], of its most probable spelling among all tokens; 1 is the first.
        grid: the geometry of the image tokens.
    """

    sample_id: str
    words: tuple[str, ...]
    top: np.ndarray
    top_probability: Float32[np.ndarray, "slot token place"]
    probability: Float32[np.ndarray, "slot token word"]
    rank: Int[np.ndarray, "slot token word"]
    grid: ImageGrid

    def to_dataframe(self) -> pd.DataFrame:
        """A row per slot, image token and place: `slot`, `token`, `row`, `col`, `place`, `word`, `probability`."""
        return self._table(("token", "place"), {"word": self.top, "probability": self.top_probability})

    def words_to_dataframe(self) -> pd.DataFrame:
        """A row per slot, image token and word that was looked for: `word`, `probability` and `rank`."""
        table = self._table(("token", "word"), {"probability": self.probability, "rank": self.rank})
        return table.assign(word=np.array(self.words, dtype=object)[table["word"]])

    def _table(self, axes: tuple[str, str], columns: Mapping[str, np.ndarray]) -> pd.DataFrame:
        import pandas as pd

        slot, token, last = (axis.ravel() for axis in np.indices(next(iter(columns.values())).shape))
        where = {"slot": slot, "token": token, "row": self.grid.rows[token], "col": self.grid.cols[token]}
        table = pd.DataFrame({**where, axes[1]: last, **{name: own.ravel() for name, own in columns.items()}})
        table.insert(0, "sample", self.sample_id)
        return table

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the largest probability of each word at any image token, by slot.

        Raises:
            InputError: no word was looked for.
        """
        from probes.mechanisms.lens.figure import plot_word_curves

        return plot_word_curves(self.words, self.probability, ax)

    def plot_words(self, image: Any, slot: int = -1, ax: Axes | None = None, *, boxes: Iterable[Any] = ()) -> Axes:
        """Draw the most probable word of each image token over the photo, at one slot.

        Args:
            image: the photo that was looked at.
            slot: which slot; the last by default.
            ax: where to draw; made if None.
            boxes: objects to outline.
        """
        from probes.mechanisms.lens.figure import plot_top_words

        place = range(len(self.top))[slot]
        return plot_top_words(image, self.grid, self.top[place, :, 0], self.top_probability[place, :, 0], place, ax,
                              boxes=boxes)  # fmt: skip
