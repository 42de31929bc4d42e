"""Any photo becomes one upright RGB image; what is no photo is refused in one line."""

import io
import os
import struct
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from interp.errors import InputError
from interp.image.photos import FORMATS, MAX_PIXELS, check_image, load_image, upright_size

RNG = np.random.default_rng(0)


def noise(height=6, width=9, channels=3):
    return RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def refusal(source) -> str:
    with pytest.raises(InputError) as caught:
        load_image(source)
    message = str(caught.value)
    assert message and "\n" not in message
    return message


def test_rgb_pixels_are_kept(tmp_path):
    pixels = noise()
    for source in (pixels, Image.fromarray(pixels), saved(tmp_path, Image.fromarray(pixels), "a.png")):
        image = load_image(source)
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_a_path_may_be_a_string(tmp_path):
    path = saved(tmp_path, Image.fromarray(noise()), "a.png")
    assert load_image(str(path)).size == load_image(path).size == (9, 6)


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LA", "RGBA", "RGBa", "La", "PA", "LAB"]
)
def test_every_colour_mode_is_read_or_refused_in_one_line(mode):
    image = Image.new(mode, (4, 3))
    try:
        assert load_image(image).mode == "RGB"
    except InputError as error:
        assert mode == "LAB" and "\n" not in str(error)


def test_transparency_is_laid_over_white(tmp_path):
    pixels = np.zeros((1, 3, 4), dtype=np.uint8)
    pixels[0, :, 3] = 0, 128, 255
    image = load_image(saved(tmp_path, Image.fromarray(pixels), "a.png"))
    np.testing.assert_array_equal(np.asarray(image)[0, :, 0], [255, 127, 0])


def test_a_transparent_palette_colour_is_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    path = saved(tmp_path, image, "a.png", transparency=1)
    np.testing.assert_array_equal(np.asarray(load_image(path))[0], [[10, 20, 30], [255, 255, 255]])


def test_loading_twice_changes_nothing(tmp_path):
    image = Image.fromarray(noise())
    once = load_image(saved(tmp_path, image, "a.png", transparency=tuple(int(v) for v in np.asarray(image)[0, 0])))
    np.testing.assert_array_equal(np.asarray(load_image(once)), np.asarray(once))


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path):
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    for source in (
        values,
        saved(tmp_path, Image.fromarray(values), "a.png"),
        saved(tmp_path, Image.fromarray(values), "a.tif"),
    ):
        np.testing.assert_array_equal(np.asarray(load_image(source))[0, :, 0], [0, 1, 128, 255])


def test_integers_of_32_bits_count_as_16():
    image = Image.fromarray(np.array([[0, 65535]], dtype=np.int32))
    np.testing.assert_array_equal(np.asarray(load_image(image))[0, :, 0], [0, 255])
    assert "70000" in refusal(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)))


def test_floats_run_from_0_to_1(tmp_path):
    values = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    for source in (
        values,
        values.astype(np.float64),
        Image.fromarray(values),
        saved(tmp_path, Image.fromarray(values), "a.tif"),
    ):
        np.testing.assert_array_equal(np.asarray(load_image(source))[0, :, 0], [0, 128, 255])
    for wrong in (values * 255, values - 0.5, values * np.nan):
        assert "[0, 1]" in refusal(wrong)
        assert "0 to 1" in refusal(Image.fromarray(wrong))


def test_masks_are_black_and_white():
    np.testing.assert_array_equal(np.asarray(load_image(np.array([[False, True]])))[0, :, 0], [0, 255])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path, orientation):
    upright = noise(5, 7)
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation](upright)))
    exif = Image.Exif()
    exif[274] = orientation
    path = saved(tmp_path, stored, "a.png", exif=exif)
    for source in (path, Image.open(path)):
        image = load_image(source)
        np.testing.assert_array_equal(np.asarray(image), upright)
        np.testing.assert_array_equal(np.asarray(load_image(image)), upright)


def test_damaged_exif_counts_as_none(tmp_path):
    pixels = noise()
    for exif in (b"Exif\x00\x00garbage", b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff", b""):
        path = saved(tmp_path, Image.fromarray(pixels), "a.jpg", exif=exif, quality=95)
        assert load_image(path).size == (9, 6)


def test_the_source_is_left_as_it_was():
    source = Image.fromarray(noise(channels=4))
    before = source.tobytes()
    load_image(source).putpixel((0, 0), (1, 2, 3))
    assert source.mode == "RGBA" and source.tobytes() == before


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert load_image(path).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (4000, 1), (1, 4000), (5000, 30)])
def test_extreme_shapes_keep_their_size(size):
    assert load_image(Image.new("L", size)).size == size


def png_header(width, height):
    """A PNG of any size that holds no pixels."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), b"IDAT", b"IEND"]
    packed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_fifty_megapixels_are_read_without_a_warning(tmp_path):
    path = saved(tmp_path, Image.new("L", (10_000, 5_000)), "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(path).size == (10_000, 5_000)


def test_a_hundred_megapixels_are_not_called_an_attack(tmp_path):
    path = saved(tmp_path, Image.new("1", (10_000, 10_000)), "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(path).size == (10_000, 10_000)


@pytest.mark.parametrize("side", [10_001, 20_000, 60_000])
def test_more_than_the_bound_is_refused_before_decoding(tmp_path, side):
    assert side * side > MAX_PIXELS
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(side, side))
    assert "100 megapixels" in refusal(path)


def test_what_is_no_file_is_refused(tmp_path):
    assert "no file" in refusal(tmp_path / "missing.jpg")
    assert "folder" in refusal(tmp_path)
    assert "folder" in refusal("")
    for address in ("https://example.org/a.jpg", "HTTP://x.org/a.jpg", "s3://bucket/a.jpg", "file:///home/a.jpg"):
        assert f"{address!r} is an address" in refusal(address)
    assert "is an address" in refusal("data:image/png;base64,iVBORw0") and "address" in refusal(Path("https://x.org/a"))
    refusal("a\x00b.jpg")
    refusal("x" * 5000)
    assert "NoneType" in refusal(None)
    assert "list" in refusal([1, 2])


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", "/dev/zero", os.devnull):
        assert "is a pipe or a device" in refusal(path)
        with pytest.raises(InputError, match="is a pipe or a device"):
            upright_size(path)


@pytest.mark.parametrize("white, form", [(255, "TIFF"), (65535, "TIFF"), (65535, "PNG")])
def test_grey_in_more_room_than_it_needs_is_as_it_was_meant(tmp_path, white, form):
    ramp = np.linspace(0, 1, 256).reshape(16, 16)
    values = np.rint(ramp * white)
    photo = Image.fromarray(values.astype(np.uint16 if form == "PNG" else np.int32))
    read = load_image(saved(tmp_path, photo, f"a.{form.lower()}"))
    assert np.abs(np.asarray(read)[..., 0] - ramp * 255).max() <= 0.5
    in_memory = load_image(Image.fromarray(values.astype(np.int32)))
    assert np.array_equal(np.asarray(in_memory), np.asarray(read))


def test_a_dark_photo_of_sixteen_bits_stays_dark(tmp_path):
    dark = Image.fromarray(np.full((8, 8), 200, np.uint16))
    for name in ("a.png", "a.tiff"):
        assert np.asarray(load_image(saved(tmp_path, dark, name))).max() == 1


def test_what_is_no_image_is_refused(tmp_path):
    for name, content in {"empty.png": b"", "text.jpg": b"not a photo\n" * 20, "page.svg": b"<svg/>"}.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert name in refusal(path)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_checking_a_photo_tells_what_loading_it_would(tmp_path, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo"
    Image.fromarray(noise(64, 48)).save(path, form, **({"exif": exif} if form in ("JPEG", "PNG", "TIFF") else {}))
    assert check_image(path) == load_image(path).size and check_image(load_image(path)) == load_image(path).size
    whole = path.read_bytes()
    refused = 0
    for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0):
        path.write_bytes(whole[: int(share * len(whole))])
        told = []
        for read in (check_image, lambda path: load_image(path).size):
            try:
                told.append(read(path))
            except InputError as error:
                told.append(str(error))
        refused += isinstance(told[0], str)
        assert told[0] == told[1], share
    assert refused >= 5


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A stand-in for the program that Pillow starts to draw PostScript; the file that tells whether it ran."""
    calls, program = tmp_path / "calls", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n[ "$1" = --version ] && echo 10.0\nexit 0\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # what it found before
    return calls


@pytest.mark.parametrize("name", ["photo.jpg", "photo.eps", "photo"])
def test_no_program_is_started_to_draw_a_file_whatever_it_is_called(tmp_path, ghostscript, name):
    path = tmp_path / name
    Image.fromarray(noise()).save(path, "EPS")
    for read in (load_image, upright_size):
        with pytest.raises(InputError, match="no image of a format that can be read"):
            read(path)
        with Image.open(path) as opened, pytest.raises(InputError, match="of format EPS, .* convert it to RGB first"):
            read(opened)
    assert not ghostscript.exists()
    with Image.open(path) as opened, suppress(OSError):  # the stand-in is what Pillow would have run
        opened.load()
    assert ghostscript.exists()


@pytest.mark.parametrize("form", ["BMP", "GIF", "ICO", "JPEG", "PCX", "PNG", "PPM", "SGI", "TGA", "TIFF", "WEBP"])
def test_a_format_of_pixels_is_read_by_what_it_holds(tmp_path, form):
    path = tmp_path / "photo.txt"
    Image.fromarray(noise(16, 16)).save(path, form)
    assert load_image(path).size == (16, 16) and form in FORMATS


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_file_that_is_cut_off_is_refused(tmp_path, form):
    buffer = io.BytesIO()
    Image.fromarray(noise(60, 80)).save(buffer, form)
    path = tmp_path / f"cut.{form.lower()}"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    assert path.name in refusal(path)


PNG = io.BytesIO()
Image.fromarray(noise(8, 8)).save(PNG, "PNG")


@given(st.integers(8, len(PNG.getvalue()) - 1), st.integers(0, 255))
def test_a_damaged_byte_gives_an_image_or_one_line(tmp_path_factory, place, value):
    content = bytearray(PNG.getvalue())
    content[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(bytes(content))
    try:
        assert load_image(path).mode == "RGB"
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), (3, 8, 8), (1, 4, 4, 3), (0, 5), (5, 0, 3)])
def test_arrays_of_another_shape_are_refused(shape):
    assert str(shape) in refusal(np.zeros(shape, dtype=np.uint8))


def test_arrays_of_other_numbers_are_refused():
    for wrong in (np.zeros((2, 2), dtype=np.int64), np.full((2, 2), 1j), np.full((2, 2), "a"), np.full((2, 2), None)):
        assert str(wrong.dtype) in refusal(wrong)
