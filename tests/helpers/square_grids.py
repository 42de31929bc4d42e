"""Grids of LLaVA-1.5-like models in small: every way in which their processors bring a photo to the tower's size."""

import numpy as np
import torch
import transformers
from PIL import Image

from interp.families.llava import llava_grid

PATCH, SIDE = 4, 24
SQUARE = {"height": SIDE, "width": SIDE}
PLAIN = {"do_rescale": False, "do_normalize": False, "do_convert_rgb": False}

# Every way in which a LLaVA-1.5-like processor brings a photo to the tower's size, in both backends.
SETTINGS = {
    "crop the middle": ("CLIP", {"size": {"shortest_edge": SIDE}, "crop_size": SQUARE}),
    "crop tighter": ("CLIP", {"size": {"shortest_edge": SIDE + 7}, "crop_size": SQUARE}),
    "crop wider than the image": ("CLIP", {"size": {"shortest_edge": SIDE - 7}, "crop_size": SQUARE}),
    "crop without resize": ("CLIP", {"do_resize": False, "crop_size": SQUARE}),
    "stretch": ("Siglip", {"size": SQUARE}),
    "stretch and crop": ("CLIP", {"size": {"height": SIDE + 5, "width": SIDE - 3}, "crop_size": SQUARE}),
    "stretch and pad": ("Siglip", {"size": {"height": 17, "width": 20}, "do_pad": True, "pad_size": SQUARE}),
    "pad to a square": (
        "Llava",
        {"do_pad": True, "size": {"shortest_edge": SIDE}, "crop_size": SQUARE, "image_mean": [0.0, 0.0, 0.0]},
    ),
    "crop in LLaVA's": ("Llava", {"do_pad": False, "size": {"shortest_edge": SIDE}, "crop_size": SQUARE}),
}
SIZES = [(60, 40), (41, 67), (200, 30), (25, 24), (9, 40), (1, 1)]


def make_processor(setting: str, backend: str, **more):
    family, options = SETTINGS[setting]
    return getattr(transformers, f"{family}ImageProcessor{backend}")(**options, **more)


def grid_of(size, setting="crop the middle", backend=""):
    return llava_grid(size, make_processor(setting, backend), patch_size=PATCH, tower_size=SIDE)


def tower_inputs(processor, photos) -> np.ndarray:
    """The first channel of what the processor makes of photos [height width 3], [photo SIDE SIDE]."""
    photos = [Image.fromarray(photo) if photo.dtype == np.uint8 else torch.tensor(photo) for photo in photos]
    made = processor(photos, return_tensors="np", input_data_format="channels_last")["pixel_values"]
    return np.asarray(made, dtype=np.float64)[:, 0]


def patch_means(processor, photo) -> np.ndarray:
    """Mean of each patch of what the processor makes of a photo, in raster order."""
    patches = tower_inputs(processor, [photo])[0].reshape(SIDE // PATCH, PATCH, SIDE // PATCH, PATCH)
    return patches.mean(axis=(1, 3)).ravel()


def paint(size, box=(0, 0, 0, 0)):
    """A black photo with a white box."""
    photo = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    x0, y0, x1, y1 = box
    photo[y0:y1, x0:x1] = 255
    return photo


def pixel_step(grid, axis):
    """Pixels of the photo per pixel of the tower along an axis."""
    return (grid.boxes[:, axis + 2] - grid.boxes[:, axis]).max() / PATCH
