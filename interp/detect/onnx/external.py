"""Which other files an ONNX file keeps weights in, as the file itself says it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from interp.errors import DetectorError
from interp.store.names import stays_inside

# For each message of the ONNX format on the way to a tensor: the numbers of its fields that hold such messages.
_HOLDS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {
        **{5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
        **{22: "sparse tensor", 23: "sparse tensor"},
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
}

_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1  # of a tensor: key and value pairs, where its data lie
_VARINT, _EIGHT_BYTES, _WITH_LENGTH, _FOUR_BYTES = 0, 1, 2, 5  # how a field of protobuf is written


def external_files(path: Path) -> list[Path]:
    """List the files in which an ONNX file keeps tensors, in order of their names; none where it holds all of them.

    Raises:
        DetectorError: it is no ONNX file, or such a file does not lie where it says.

    Example:
        >>> external_files(Path("large.onnx"))  # doctest: +SKIP
        [PosixPath('large.onnx.data')]
    """
    try:
        names = sorted(set(_locations(memoryview(path.read_bytes()), "model")))
    except (LookupError, ValueError) as error:
        raise DetectorError(f"{path} can not be read as an ONNX file ({error}): export it anew") from error
    outside = [name for name in names if not stays_inside(name)]
    if outside:
        raise DetectorError(f"{path} keeps weights in {outside[0]!r}, outside its folder: export it anew")
    found = [path.parent / name for name in names]
    for file in found:
        if not file.is_file():
            raise DetectorError(f"{path} keeps weights in {str(file)!r}, which is not there: put it beside the file")
    return found


def _locations(data: memoryview, kind: str) -> Iterator[str]:
    """What the external tensors in a message name as their places."""
    if kind == "tensor":
        yield from _location(data)
        return
    for number, value in _fields(data):
        inner = _HOLDS[kind].get(number)
        if inner is not None and isinstance(value, memoryview):
            yield from _locations(value, inner)


def _location(tensor: memoryview) -> Iterator[str]:
    fields = list(_fields(tensor))
    if (_DATA_LOCATION, _EXTERNAL) not in fields:
        return
    for number, value in fields:
        if number == _EXTERNAL_DATA and isinstance(value, memoryview):
            entry = dict(_fields(value))
            if bytes(entry[1]) == b"location":
                yield bytes(entry[2]).decode()


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The number and value of each field of a protobuf message: whole numbers, or the bytes of what has a length."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, written = tag >> 3, tag & 7
        if written == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        if written == _WITH_LENGTH:
            length, place = _varint(data, place)
        elif written in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if written == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of type {written}")
        if place + length > len(data):
            raise ValueError("it is cut off")
        yield number, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A whole number in groups of seven bits, the lowest first, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[place]
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return value, place
