"""HTML and SVG from nested calls; text is escaped unless it is already markup."""

from __future__ import annotations

from html import escape

Attribute = str | float | int | None


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | float | None

# Elements without an end tag.
_VOID = {"img"}


def tag(name: str, *children: Child, **attributes: Attribute) -> Markup:
    """One element with escaped text and attributes.

    Args:
        name: Of the element.
        children: Markup goes in as it is, other text escaped, None not at all.
        attributes: ``class_`` is ``class``, ``stroke_width`` is ``stroke-width``; None is left
            out, floats are written with at most two decimals.
    """
    opening = name + "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{opening}>")
    return Markup(f"<{opening}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Children one after the other, escaped like those of ``tag``."""
    return Markup("".join(_text(child) for child in children if child is not None))


def _text(child: Child) -> str:
    return str(child) if isinstance(child, Markup) else escape(str(child))


def _attribute(value: Attribute) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return escape(str(value))
