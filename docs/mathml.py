"""Formulas of the documentation as MathML, made when the pages are built.

pymdownx.arithmatex marks `$…$` and `$$…$$`; this hook of mkdocs puts MathML in their place, which browsers show without
any script. A formula that cannot be read fails the build.
"""

import html
import re
from typing import Any

from math_core import LatexToMathML

_MARKED = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<formula>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
_CONVERTER = LatexToMathML()


def on_page_content(content: str, **_: Any) -> str:
    """Replace the marked formulas of a page."""
    return _MARKED.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    formula = html.unescape(found["formula"]).strip()
    return _CONVERTER.convert_with_local_state(formula, displaystyle=found["open"] == "[")
