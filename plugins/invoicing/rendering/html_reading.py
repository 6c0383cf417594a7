"""A template's HTML as the tree that it is laid out from, read by Lexbor in a twentieth of the usual time.

Both read as browsers do, so that the trees are equal (`tests/rendering/test_html_reading.py`). Where Lexbor's Python
side does not tell all that matters, what another language's elements are called, WeasyPrint's own reads.
"""

import re
from typing import Any
from xml.etree import ElementTree

import tinyhtml5
from selectolax.lexbor import LexborHTMLParser, LexborNode

# Drawings and formulas are of another namespace, a `template` is a document of its own, a `select` is read by new rules
# and by old ones; and there are characters that are none.
_LEFT_TO_THE_OTHER = re.compile(
    r"<(?:svg|math|template|select|isindex|plaintext|frameset|noscript)\b|[\0\ud800-\udfff]", re.IGNORECASE
)


def read_html(html: str) -> ElementTree.Element:
    """The root of ``html``, as `tinyhtml5.parse` reads it without namespaces.

    Raises:
        RecursionError: Its elements are nested too deep.
    """
    if _LEFT_TO_THE_OTHER.search(html):
        root: ElementTree.Element = tinyhtml5.parse(html, namespace_html_elements=False)
        return root
    node = LexborHTMLParser(html).root
    if node is None:
        raise AssertionError("every document has a root")
    return _element_of(node)


def _element_of(node: LexborNode) -> ElementTree.Element:
    element = ElementTree.Element(
        str(node.tag), {name: value or "" for name, value in node.attributes.items()}
    )
    last: Any = None
    child = node.child
    while child is not None:
        if child.is_text_node:
            if last is None:
                element.text = (element.text or "") + (child.text_content or "")
            else:
                last.tail = (last.tail or "") + (child.text_content or "")
        elif child.is_comment_node:
            last = ElementTree.Comment(child.comment_content or "")
            element.append(last)
        elif child.is_element_node:
            last = _element_of(child)
            element.append(last)
        child = child.next
    return element
