from __future__ import annotations

from clad.reports.markup import Markup, join, tag


def test_text_and_attributes_are_escaped_but_markup_is_not():
    inner = tag("b", "<i>")
    assert inner == "<b>&lt;i&gt;</b>"
    outer = tag("p", inner, " & ", None, 3, title='say "<hi>"')
    assert outer == '<p title="say &quot;&lt;hi&gt;&quot;"><b>&lt;i&gt;</b> &amp; 3</p>'


def test_attribute_names_and_numbers():
    line = tag("line", class_="grid", stroke_width=2, x1=1.23456, y1=4.0, y2=None)
    assert line == '<line class="grid" stroke-width="2" x1="1.23" y1="4"></line>'


def test_an_image_has_no_end_tag():
    assert tag("img", src="data:,", alt="") == '<img src="data:," alt="">'


def test_text_put_together_from_markup_is_escaped_again():
    # Anything that str operations return is plain text, hence safe.
    assert join(Markup("<b>") + "</b>") == "&lt;b&gt;&lt;/b&gt;"
