"""Photos whose colours say where a pixel lies, so that a processor's own output says what each image token saw."""

import numpy as np


def ramp(size: tuple[int, int]) -> np.ndarray:
    """A photo [height width 3] of at most 256 pixels a side: red is the column, green is the row."""
    rows, cols = np.indices((size[1], size[0]), dtype=np.uint8)
    return np.stack([cols, rows, np.zeros_like(cols)], axis=-1)


def seen_centres(image_processor, pixel_values, token: int) -> np.ndarray:
    """Where the middle of each image token lies in the photo of a ramp [token 2], by the colours in its pixels.

    Args:
        image_processor: its mean and deviation are undone.
        pixel_values: what it made [... 3 side side]: views in the order of the prompt.
        token: side of an image token, in pixels of a view.
    """
    views = np.asarray(pixel_values, dtype=np.float64)
    views = views.reshape(-1, *views.shape[-3:])
    many = views.shape[-1] // token
    colours = views[..., : many * token, : many * token].reshape(len(views), 3, many, token, many, token).mean((3, 5))
    mean, std = (np.reshape(values, (3, 1, 1)) for values in (image_processor.image_mean, image_processor.image_std))
    return (255 * (colours * std + mean)).transpose(0, 2, 3, 1).reshape(-1, 3)[:, :2] + 0.5


def centres(boxes: np.ndarray) -> np.ndarray:
    """The middles of boxes [box 4], [box 2]."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2
