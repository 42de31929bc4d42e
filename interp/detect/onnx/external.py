"""Which other files an ONNX file keeps weights in, as the file itself says it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from interp.errors import DetectorError
from interp.store.names import stays_inside


def external_files(path: Path) -> list[Path]:
    """List the files in which an ONNX file keeps tensors, in order of their names; none where it holds all of them.

    Nothing of these files is read.

    Raises:
        DetectorError: it is no ONNX file, or such a file does not lie where it says, or the package onnx is not there.

    Example:
        >>> external_files(Path("large.onnx"))  # doctest: +SKIP
        [PosixPath('large.onnx.data')]
    """
    try:
        names = sorted({name for tensor in _tensors(_read(path)) for name in _locations(tensor)})
    except ValueError as error:
        raise DetectorError(f"{path} can not be read as an ONNX file ({error}): export it anew") from error
    outside = [name for name in names if not stays_inside(name)]
    if outside:
        raise DetectorError(f"{path} keeps weights in {outside[0]!r}, outside its folder: export it anew")
    found = [path.parent / name for name in names]
    for file in found:
        if not file.is_file():
            raise DetectorError(f"{path} keeps weights in {str(file)!r}, which is not there: put it beside the file")
    return found


def _read(path: Path) -> Any:
    """The model in a file, which is taken for ONNX whatever its name ends in; its other files stay closed.

    Raises:
        ValueError: it is none.
    """
    try:
        from google.protobuf.message import DecodeError
        from onnx import load_model_from_string
    except ImportError as error:
        raise DetectorError(
            f"ONNX detectors need onnx, which can not be imported ({error}): pip install 'spatial-lens[onnx]'"
        ) from error
    try:
        return load_model_from_string(path.read_bytes(), format="protobuf")
    except DecodeError as error:
        raise ValueError(str(error)) from error


def _tensors(message: Any) -> Iterator[Any]:
    """The tensors in a part of a model, wherever its format lets them be."""
    from onnx import TensorProto

    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _tensors(part)


def _locations(tensor: Any) -> Iterator[str]:
    """What a tensor that lies in another file names as its place."""
    from onnx.external_data_helper import uses_external_data

    for entry in tensor.external_data if uses_external_data(tensor) else ():
        if not (entry.HasField("key") and entry.HasField("value")):
            raise ValueError("a tensor of another file says half of where it lies")
        if entry.key == "location":
            if isinstance(entry.value, bytes):
                raise ValueError(f"a tensor lies in a file whose name {entry.value!r} is no text")
            yield entry.value
