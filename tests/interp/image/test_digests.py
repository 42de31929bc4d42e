"""Digests are those of hashlib over bytes and pixels, and tell apart what looks otherwise."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from interp.image import digests
from interp.image.digests import file_digest, photo_digest, picture_digest


@pytest.mark.parametrize("part", [1, 7, 1 << 20])
def test_the_digest_of_files_is_that_of_their_bytes_one_behind_the_other(tmp_path, monkeypatch, part):
    monkeypatch.setattr(digests, "_AT_ONCE", part)
    contents = [b"", b"mug", bytes(range(256)) * 5]
    paths = [tmp_path / str(number) for number in range(3)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
        assert file_digest(path) == hashlib.sha256(content).hexdigest()
    assert file_digest(*paths) == hashlib.sha256(b"".join(contents)).hexdigest()


def test_pictures_differ_by_pixels_size_mode_and_palette():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4), np.uint8)
    grey = Image.fromarray(pixels)
    turned = Image.fromarray(pixels.reshape(4, 6))
    plain, other = grey.convert("P"), grey.convert("P")
    other.putpalette(list(range(255, -1, -1)) * 3)
    every = [grey, turned, plain, other, grey.convert("RGB"), Image.fromarray(255 - pixels)]
    assert len({picture_digest(one) for one in every}) == len(every)
    assert picture_digest(grey) == picture_digest(grey.copy())
    assert photo_digest(grey) != photo_digest(turned) and photo_digest(grey) == photo_digest(grey.copy())
