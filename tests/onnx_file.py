"""A tiny ONNX model as a file, written field by field, so that the package onnx is not needed."""

from __future__ import annotations

from pathlib import Path

FLOAT = 1


def _varint(value: int) -> bytes:
    parts = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        parts.append(low | (0x80 if value else 0))
        if not value:
            return bytes(parts)


def _field(number: int, content: bytes | str | int) -> bytes:
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    content = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _value(name: str, shape: tuple[int | str, ...]) -> bytes:
    dims = b"".join(
        _field(1, _field(1, side) if isinstance(side, int) else _field(2, side)) for side in shape
    )
    return _field(1, name) + _field(2, _field(1, _field(1, FLOAT) + _field(2, dims)))


def _node(kind: str, given: str, found: str) -> bytes:
    return _field(1, given) + _field(2, found) + _field(4, kind)


def save_model(
    path: Path,
    shape: tuple[int | str, ...] = ("batch", 3, 12, 10),
    kinds: tuple[str, ...] = ("GlobalAveragePool", "Flatten"),
) -> Path:
    """A chain of operators from images to the last one's result; by default the mean colour."""
    nodes, name = b"", "faces"
    for number, kind in enumerate(kinds):
        found = f"step{number}"
        nodes += _field(1, _node(kind, name, found))
        name = found
    rank = 2 if kinds[-1] == "Flatten" else 4
    output = _value(name, tuple(f"side{n}" for n in range(rank)))
    graph = nodes + _field(2, "g") + _field(11, _value("faces", shape)) + _field(12, output)
    opset = _field(1, "") + _field(2, 13)
    path.write_bytes(_field(1, 8) + _field(7, graph) + _field(8, opset))
    return path
