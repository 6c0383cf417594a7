"""Two parsers that read as browsers do read the same tree."""

from xml.etree import ElementTree

import pytest
import tinyhtml5

from invoicing.rendering.html_reading import read_html
from invoicing.rendering.sample import sample_invoices
from invoicing.rendering.templates import (
    INVOICE_HTML,
    Part,
    environment,
    invoice_variables,
    load_shipped,
    shipped_names,
)

# What people write, and what nobody should: unclosed, crossed, doubled, out of place, in another namespace.
PIECES = [
    "",
    "x",
    "<p>x",
    "\ufeff<p>x",
    "<!-- a --><p>x<!-- b -->y</p>tail<!--c-->",
    "<html><!--a--><head></head><!--b--><body></body></html><!-- end -->",
    "<!DOCTYPE html><html lang=es style='--c: 1'><body class=a><html id=x><body id=y>z",
    "<table><tr><td>a<p>b</table>x",
    "<table>x<caption>y<col><tr><td>",
    "<p>a<table><td>b<a><table><a>",
    "<b><p>x</b>y</p><i>1<b>2<p>3</i>4</b>5",
    "<a href=x>1<a href=y>2</a><nobr>a<nobr>b<button><button>",
    "a\r\nb\rc<pre>\n\nx</pre><textarea>\n<x></textarea>",
    "&amp;&nbsp;&notit;&#0;&#x80;&#xD800;&copy",
    "<p class=a class=b ID=q DATA-x='1' xml:lang=en a\"b=1 c<d=2 =e>x",
    "<br/><br></br></p><hr><image src=a><img alt='a\nb'>",
    "<style>a<b</style><script>if(a<b)</script><title>a<b></title><xmp><p></xmp><iframe><p></iframe>",
    "<ul><li>1<li>2</ul><dl><dt>a<dd>b</dl><ruby>a<rt>b<rp>c</ruby>",
    "<form><form><input></form><select><option>a<option>b<p>x</select><isindex>",
    "<x-y a>é😀\u202e</x-y><h1>a<h2>b<details><summary>a</summary></details>",
    "a\x0cb\x0bc\x01d\x7f\x00<a\x0cb=1>x",
    "<?php x?>y<![CDATA[x]]></",
    "<svg width=1 viewBox='0 0 1 1'><g/><foreignObject><p>x</svg><math><mi>x</math><template><p>x</template>",
    "<div>" * 100 + "x",
]


def told(tree: ElementTree.Element) -> list[object]:
    """All that a tree says, in order; a comment's blanks apart, which nobody sees."""
    return [
        (
            str(each.tag) if isinstance(each.tag, str) else "comment",
            sorted(each.attrib.items()),
            (each.text or "") if isinstance(each.tag, str) else (each.text or "").strip(),
            each.tail or "",
        )
        for each in tree.iter()
    ]


@pytest.mark.parametrize("html", PIECES)
def test_a_piece_of_html_is_read_the_same_by_both(html: str) -> None:
    assert told(read_html(html)) == told(tinyhtml5.parse(html, namespace_html_elements=False))


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_invoice_is_read_the_same_by_both(name: str) -> None:
    template = load_shipped(name)
    part = Part(environment(), INVOICE_HTML, template.parts[INVOICE_HTML])
    for document in sample_invoices():
        html = part.render(invoice_variables(document, template.fields))

        assert told(read_html(html)) == told(tinyhtml5.parse(html, namespace_html_elements=False))
