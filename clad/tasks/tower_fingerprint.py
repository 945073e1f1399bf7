"""What decides the features of a frozen tower: its classes, settings and weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from clad.towers.base import Tower

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_PLAIN = (bool, int, float, str)


def tower_fingerprint(tower: Tower) -> str:
    """Hexadecimal digest that changes with any class, plain setting, function or weight.

    Settings are the attributes of the tower and of all its modules that are numbers, texts, tuples
    of them, or functions (an activation). Every weight and buffer counts, the text side's, too.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, module in tower.named_modules():
        digest.update(repr((name, *_settings(module))).encode())
    tensors = [*tower.named_parameters(), *tower.named_buffers()]
    with ThreadPoolExecutor() as pool:
        for (name, tensor), content in zip(
            tensors, pool.map(_content, (tensor for _, tensor in tensors)), strict=True
        ):
            digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape), content)).encode())
    return digest.hexdigest()


def _settings(module: nn.Module) -> Iterator[object]:
    kind = type(module)
    yield f"{kind.__module__}.{kind.__qualname__}"
    for key, value in sorted(vars(module).items()):
        if key in _OF_EVERY_MODULE:
            continue
        if _is_plain(value):
            yield key, value
        elif callable(value) and not isinstance(value, nn.Module):
            yield key, getattr(value, "__qualname__", type(value).__qualname__)


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, _PLAIN)


def _content(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.blake2b(flat.numpy().data, digest_size=16).hexdigest()
