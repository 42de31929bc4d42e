"""ONNX files for tests, written byte by byte: detectors that find what is red, in each layout that is known."""

import itertools

import numpy as np

SIZE = (64, 96)  # height and width of the input of the files that are made here
ULTRALYTICS = {"names": "{0: 'sky', 1: 'red thing'}", "stride": "32", "task": "detect", "imgsz": "[64, 96]"}


def varint(number):
    number &= 2**64 - 1
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def message(*fields):
    """A protobuf message of (number, value): whole numbers as varints, texts and messages with their length."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def node(kind, inputs, output, **attributes):
    fields = [(1, name) for name in inputs] + [(2, output), (4, kind)]
    for name, value in attributes.items():
        items = [(8, item) for item in value] + [(20, 7)] if isinstance(value, list) else [(3, value), (20, 2)]
        fields.append((5, message((1, name), *items)))
    return (1, message(*fields))


def constant(name, array):
    array = np.asarray(array)
    kind = {"float32": 1, "int64": 7}[array.dtype.name]
    return (5, message(*[(1, n) for n in array.shape], (2, kind), (8, name), (9, array.tobytes())))


def external(name, array, location):
    """A constant whose numbers lie in another file."""
    array = np.asarray(array)
    entry = message((1, "location"), (2, location))
    return (5, message(*[(1, n) for n in array.shape], (2, 1), (8, name), (13, entry), (14, 1)))


def port(number, name, shape):
    sides = [(1, message((1, side) if isinstance(side, int) else (2, side))) for side in shape]
    return (number, message((1, name), (2, message((1, message((1, 1), (2, message(*sides))))))))


def write_model(path, graph, *, inputs, outputs=None, metadata=()):
    """Write a file with one input `images`; the shapes of its outputs by name, texts for what is free."""
    outputs = {"out": ["a", "b", "c"]} if outputs is None else outputs
    ports = [port(11, "images", inputs), *(port(12, name, shape) for name, shape in outputs.items())]
    graph = message(*graph, (2, "g"), *ports)
    notes = [(14, message((1, key), (2, value))) for key, value in dict(metadata).items()]
    path.write_bytes(message((1, 8), (8, message((1, ""), (2, 13))), (7, graph), *notes))
    return path


def red_box(red, threshold):
    """Nodes that give, as [batch 1] each, the corners of what is red beyond a threshold, and 1 if anything is."""
    number = itertools.count()
    nodes = [
        constant("red", np.int64(red)),
        constant("green", np.int64(1)),
        constant("threshold", np.float32(threshold)),
        constant("one", np.float32(1)),
        constant("two", np.float32(2)),
        node("Gather", ["images", "red"], "r", axis=1),
        node("Gather", ["images", "green"], "g", axis=1),
        node("Sub", ["r", "g"], "difference"),
        node("Greater", ["difference", "threshold"], "is red"),
        node("Cast", ["is red"], "mask", to=1),
        node("ReduceMax", ["mask"], "columns", axes=[1], keepdims=0),
        node("ReduceMax", ["mask"], "rows", axes=[2], keepdims=0),
        node("ReduceMax", ["columns"], "any", axes=[1], keepdims=1),
    ]
    for low, high, line in (("x0", "x1", "columns"), ("y0", "y1", "rows")):
        for name, last in ((low, 0), (high, 1)):
            step = f"step {next(number)}"
            nodes.append(node("ArgMax", [line], step, axis=1, keepdims=1, select_last_index=last))
            nodes.append(node("Cast", [step], name if not last else f"{name} last", to=1))
        nodes.append(node("Add", [f"{high} last", "one"], high))
    for axis in "xy":
        nodes.append(node("Sub", [f"{axis}1", f"{axis}0"], f"{axis} length"))
        nodes.append(node("Add", [f"{axis}0", f"{axis}1"], f"{axis} sum"))
        nodes.append(node("Div", [f"{axis} sum", "two"], f"{axis} centre"))
    return nodes


def red_finder(path, layout, *, batch=1, metadata=()):
    """A detector of one layout: class 1 of 2 is what is red, wherever that lies."""
    zero = [node("Sub", ["any", "any"], "zero")]
    centre = ["x centre", "y centre", "x length", "y length"]
    if layout == "ultralytics":
        nodes = red_box(0, 0.5) + zero
        nodes += [node("Concat", [*centre, "zero", "any"], "row", axis=1), constant("last", np.array([2]))]
        nodes += [node("Unsqueeze", ["row", "last"], "out")]
    elif layout == "end-to-end":
        nodes = red_box(0, 0.5) + zero
        nodes += [node("Concat", ["x0", "y0", "x1", "y1", "any", "any"], "row", axis=1)]
        nodes += [constant("middle", np.array([1])), node("Unsqueeze", ["row", "middle"], "one row")]
        nodes += [node("Sub", ["one row", "one row"], "padding")]
        nodes += [node("Concat", ["one row", "padding"], "out", axis=1)]
    else:
        nodes = red_box(2, 128) + zero  # blue comes first, values go up to 255
        rest = anchors_that_say_nothing(decoded=layout == "yolox decoded")
        if layout == "yolox":
            nodes += [constant("stride", np.float32(8))]
            for axis in "xy":
                nodes += [node("Div", [f"{axis} centre", "stride"], f"{axis} cells")]
                nodes += [node("Div", [f"{axis} length", "stride"], f"{axis} size")]
                nodes += [node("Log", [f"{axis} size"], f"{axis} log")]
            centre = ["x cells", "y cells", "x log", "y log"]
        nodes += [node("Concat", [*centre, "any", "zero", "any"], "row", axis=1)]
        nodes += [constant("middle", np.array([1])), node("Unsqueeze", ["row", "middle"], "one row")]
        nodes += [constant("rest", rest), node("Concat", ["one row", "rest"], "out", axis=1)]
    return write_model(path, nodes, metadata=metadata, inputs=[batch, 3, *SIZE])


def anchors_that_say_nothing(*, decoded):
    """YOLOX's rows of every anchor but the first one, with its own cell as box and no objectness."""
    rows = []
    for stride in (8, 16, 32):
        for y in range(SIZE[0] // stride):
            for x in range(SIZE[1] // stride):
                at = [(x + 0.5) * stride, (y + 0.5) * stride, stride, stride] if decoded else [0.5, 0.5, 0.0, 0.0]
                rows.append([*at, 0.0, 0.0, 0.0])
    return np.array([rows[1:]], dtype=np.float32)
