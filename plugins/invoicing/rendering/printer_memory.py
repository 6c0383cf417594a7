"""What WeasyPrint 70.0 works out anew for each document, and that is the same for all of a template, remembered.

Each of these gives the same bytes as WeasyPrint without it (`tests/rendering/test_printer_memory.py`), and each is
written down for WeasyPrint's makers, with what it gains, in ``docs/rendering_cost.md``:

    tree        the HTML, read by a parser in C (`html_reading`)
    styles      an element's computed styles, by the rules that match it and its parent's style
    lengths     what of a style's box depends on no other box; the height of its lines
    lines       a line of text, shaped once to be laid out and not once more to be drawn
    objects     a finished object's bytes, made once to be written and to be hashed

With another version of WeasyPrint nothing is remembered, and all works as slowly as it comes.
"""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

import pydyf
import weasyprint
from cssselect2 import ElementWrapper
from weasyprint import css
from weasyprint.css import computed_values, units
from weasyprint.layout import absolute, block, column, grid, inline, page, percent, table
from weasyprint.layout import float as float_
from weasyprint.text import line_break
from weasyprint.text.fonts import FontConfiguration
from weasyprint.urls import URLFetcher

from invoicing.rendering.html_reading import read_html

VERSION = "70.0"
"""The version of WeasyPrint whose inside this module knows."""

IS_KNOWN = weasyprint.__version__ == VERSION

MOST_STYLES = 4000
"""A shipped invoice has 600; a template that writes another style into each document has no end of them."""


class _PageSizes(dict[str, Any]):
    """The first page's, by which ``vw`` and the like are computed; says whether any style asked."""

    was_asked = False

    def __getitem__(self, name: str) -> Any:
        self.was_asked = True
        return super().__getitem__(name)


class StyleMemory:
    """The computed styles of the documents of one style sheet; hung on their `FontConfiguration` as ``style_memory``.

    An element's styles, its own and those of what is generated in it, are found again by its parent's style, by the
    rules that match it, and by its attributes where one of them says something of style. A style alone is found again
    by its parent's and by the values that the cascade left it with. Rules and values are the style sheet's own objects.
    A document with a style sheet of its own is left to WeasyPrint.
    """

    def __init__(self) -> None:
        self.sheets: list[Any] = []
        self.by_rules: dict[tuple[Any, ...], dict[str | None, Any]] = {}
        self.by_values: dict[tuple[Any, ...], Any] = {}
        self.page_sizes = _PageSizes()

    def begin_document(self, sheets: Iterable[Any]) -> None:
        """Forget what only this document's predecessor could know, and what is too much."""
        before, self.sheets = self.sheets, list(sheets)
        is_other = len(before) != len(self.sheets) or any(
            one is not other for one, other in zip(before, self.sheets, strict=True)
        )
        is_full = len(self.by_rules) + len(self.by_values) > MOST_STYLES
        if is_other or is_full or self.page_sizes.was_asked:
            self.by_rules.clear()
            self.by_values.clear()
        self.page_sizes.was_asked = False
        self.page_sizes.update(box=None, area=None)


_AUTHOR = frozenset(css.declaration_precedence("author", important) for important in (False, True))
_STYLING = ("style", "lang", "id", "name")


def _styling_of(element: Any) -> tuple[Any, ...] | None:
    """An element's attributes, where they say something of its style."""
    attributes = element.attrib
    if any(name in attributes for name in _STYLING) or element.tag.endswith("}svg"):
        return (element.tag, *attributes.items())
    return None


class _RememberedStyles(css.StyleFor):  # type: ignore[misc]  # WeasyPrint has no types
    """WeasyPrint's styles of one document, of which a `StyleMemory` gives those that it knows."""

    def __init__(self, html: Any, sheets: Any, hints: Any, fonts: FontConfiguration, targets: Any) -> None:
        memory: StyleMemory | None = getattr(fonts, "style_memory", None)
        if hints or any(origin == "author" for _, origin, _ in sheets):
            memory = None
        self._memory = memory
        if memory is None:
            super().__init__(html, sheets, hints, fonts, targets)
            return
        memory.begin_document(sheet for sheet, _, _ in sheets)
        self._sheets, self.font_config = sheets, fonts
        self._cascaded_styles: dict[Any, Any] = {}
        self._computed_styles: dict[Any, Any] = {}
        if not self._all_known(html, memory, targets):
            super().__init__(html, sheets, hints, fonts, targets)
            self._learn(html, memory)

    def _all_known(self, html: Any, memory: StyleMemory, targets: Any) -> bool:
        """Take every element's styles from memory; whether each is there."""
        anchors = []
        for element in html.wrapper_element.iter_subtree():
            styles = memory.by_rules.get(self._rules_key(element))
            if styles is None:
                return False
            node = element.etree_element
            for pseudo_type, style in styles.items():
                self._computed_styles[node, pseudo_type] = style
                if style["anchor"]:
                    anchors.append((pseudo_type is not None, style["anchor"]))
        for _, anchor in sorted(anchors, key=itemgetter(0)):
            targets.collect_anchor(anchor)
        return True

    def _learn(self, html: Any, memory: StyleMemory) -> None:
        of_element: dict[Any, dict[str | None, Any]] = {}
        for (node, pseudo_type), style in self._computed_styles.items():
            of_element.setdefault(node, {})[pseudo_type] = style
        for element in html.wrapper_element.iter_subtree():
            memory.by_rules[self._rules_key(element)] = of_element[element.etree_element]

    def _rules_key(self, element: Any) -> tuple[Any, ...]:
        above = element.parent and self._computed_styles[element.parent.etree_element, None]
        rules = [
            id(payload)
            for sheet, _, _ in self._sheets
            for _specificity, _order, _pseudo_type, payload in sheet.matcher.match(element)
        ]
        return (id(above), _styling_of(element.etree_element), *rules)

    @property
    def initial_page_sizes(self) -> dict[str, Any]:
        """The first page's size, once it is known."""
        return self._page_sizes if self._memory is None else self._memory.page_sizes

    @initial_page_sizes.setter
    def initial_page_sizes(self, sizes: dict[str, Any]) -> None:
        self._page_sizes = sizes

    def set_computed_styles(
        self,
        element: Any,
        parent: Any,
        root: Any = None,
        pseudo_type: str | None = None,
        base_url: str | None = None,
        target_collector: Any = None,
    ) -> None:
        """Take the style of an element, a page or a page's margin from memory, or have it computed and remember it."""
        memory = self._memory
        if memory is None:
            super().set_computed_styles(element, parent, root, pseudo_type, base_url, target_collector)
            return
        place = (element, pseudo_type)
        attributes = None
        key: list[Any] = [id(None if parent is None else self._computed_styles[parent, None]), pseudo_type]
        for name, (value, (precedence, layer, specificity)) in self._cascaded_styles.get(place, {}).items():
            key += (name, precedence, layer, *specificity)
            if precedence in _AUTHOR:
                attributes = _styling_of(element)
            else:
                key.append(id(value))
        key.append(attributes)
        found = memory.by_values.get(tuple(key))
        if found is None:
            super().set_computed_styles(element, parent, root, pseudo_type, base_url, target_collector)
            # It holds its parent's style and its values, so that no other object gets their identities.
            memory.by_values[tuple(key)] = self._computed_styles[place]
            return
        self._computed_styles[place] = found
        if target_collector and found["anchor"]:
            target_collector.collect_anchor(found["anchor"])


# The lengths of a box's frame, in the order in which WeasyPrint resolves them.
_LENGTHS = (
    *("margin_left", "margin_right", "margin_top", "margin_bottom"),
    *("padding_left", "padding_right", "padding_top", "padding_bottom"),
    *("width", "min_width", "max_width", "height", "min_height", "max_height"),
)
_BORDERS = ("border_top_width", "border_right_width", "border_bottom_width", "border_left_width")
_resolve_anew = percent.resolve_percentages


def _resolve_lengths(box: Any, containing_block: Any) -> None:
    """Set the used lengths of a box: at once where none of its style's is a share of another box's."""
    style = box.style
    try:
        used = style.used_lengths
    except AttributeError:
        used = style.used_lengths = _used_lengths(style)
    if used is None:
        _resolve_anew(box, containing_block)
    else:
        box.__dict__.update(used)


def _used_lengths(style: Any) -> dict[str, Any] | None:
    """What `percent.resolve_percentages` sets for every box of ``style``, or None where it depends on the box."""
    if style["border_collapse"] == "collapse" or style["box_sizing"] != "content-box":
        return None
    used: dict[str, Any] = {}
    for name in _LENGTHS:
        length = style[name]
        if length == "auto":
            used[name] = 0 if name in ("min_width", "min_height") else "auto"
        elif getattr(length, "unit", None) == "px":
            used[name] = length.value
        else:
            return None
    used.update((name, style[name]) for name in _BORDERS)
    return used


_strut_anew = line_break.strut


def _strut(style: Any) -> tuple[float, float]:
    """The height of a line of ``style``, and its baseline; asked for with every line."""
    try:
        used: tuple[float, float] = style.used_strut
    except AttributeError:
        used = style.used_strut = _strut_anew(style)
    return used


class _KeptLayout(line_break.Layout):  # type: ignore[misc]
    """A shaped line of text that is drawn as it was laid out, rather than shaped once more to be drawn."""

    def deactivate(self) -> None:
        """Stay as it is."""

    def reactivate(self, style: Any) -> None:
        """Be shaped anew only where drawing is another matter: justified, or in another style."""
        if self.justification_spacing or style is not self.style:
            super().reactivate(style)


class _ReadDocument(weasyprint.HTML):  # type: ignore[misc]
    """WeasyPrint's document, read by another parser."""

    def __init__(self, html: str, base_url: str | None, fetcher: URLFetcher) -> None:
        root = read_html(html)
        self.base_url = weasyprint._find_base_url(root, base_url)  # noqa: SLF001 (as it does itself)
        self.url_fetcher = fetcher
        self.media_type = "print"
        self.wrapper_element = ElementWrapper.from_html_root(root, content_language=None)
        self.etree_element = self.wrapper_element.etree_element


def read_document(html: str, base_url: str | None, fetcher: URLFetcher) -> weasyprint.HTML:
    """WeasyPrint's document of ``html``."""
    if IS_KNOWN:
        return _ReadDocument(html, base_url, fetcher)
    return weasyprint.HTML(string=html, base_url=base_url, url_fetcher=fetcher)


class _WrittenObject(pydyf.Object):  # type: ignore[misc]  # pydyf has no types
    """An object of a PDF, its bytes made."""

    compressible = False

    def __init__(self, original: pydyf.Object) -> None:
        super().__init__()
        self.number, self.generation, self.free = original.number, original.generation, original.free
        self.compressible = original.compressible
        self._data: bytes = original.data

    @property
    def data(self) -> bytes:
        """The bytes."""
        return self._data


def _write_once(_document: Any, pdf: pydyf.PDF) -> None:
    """Make each object's bytes once, compressed ones too: pydyf asks twice, to write and to hash them."""
    pdf.objects[:] = [each if each.free == "f" else _WrittenObject(each) for each in pdf.objects]


finisher = _write_once if IS_KNOWN else None
"""What WeasyPrint calls with a PDF that it is about to write."""

# Who has taken the two functions' names into its own.
_USERS = (
    *(percent, absolute, block, column, float_, grid, inline, page, table),
    *(line_break, computed_values, units),
)


def _remember() -> None:
    css.StyleFor = _RememberedStyles
    line_break.Layout = _KeptLayout
    for module in _USERS:
        if getattr(module, "resolve_percentages", None) is _resolve_anew:
            module.resolve_percentages = _resolve_lengths
        if getattr(module, "strut", None) is _strut_anew:
            module.strut = _strut


if IS_KNOWN:
    _remember()
