"""A message's last gate: what it may not have is found, and what leaves is written anew by a sanitiser.

Two browser-grade parsers read it, of two makers and in two languages. Lexbor says what is there, tag by tag, which
`mail_rules` judges; nh3 then writes the message from the same lists. Read again, the outcome must be what was judged:
whatever one of them sees and the other does not is a fault too.

It runs in child processes that see no template (`inspection`), and in the one that reads a template's proof.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

import nh3
from selectolax.lexbor import LexborHTMLParser, LexborNode

from invoicing.rendering.errors import PartFaultError
from invoicing.rendering.mail_rules import (
    ATTRIBUTE_PREFIX,
    ATTRIBUTES,
    BODY_TAGS,
    HEAD_TAGS,
    LINKS,
    PICTURES,
    attribute_faults,
    meta_faults,
    text_faults,
)
from invoicing.rendering.parts import MAIL_HTML, MAIL_TEXT, SUBJECT
from invoicing.rendering.style_rules import sheet_faults
from invoicing.words.failures import Fault

LARGEST_HTML_CHARACTERS = 4 * 1024 * 1024
"""Of a finished message: twice what a template may print, for the styles that moved into its tags."""

_FRAME = ("html", "head", "body")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a message may not have.

    Args:
        fragment: How its template most likely writes it, to find the line.
    """

    fragment: str
    fault: Fault


# An element with its attributes, or a text; the end of an element is told by the depth of what follows.
_Piece = tuple[int, str, tuple[tuple[str, str], ...]] | tuple[int, str]


class _Reading:
    """A message as Lexbor reads it."""

    def __init__(self, html: str) -> None:
        self.findings: list[Finding] = []
        self.pieces: list[_Piece] = []
        self._tree = LexborHTMLParser(html)
        root = self._tree.root
        self.root_attributes: Mapping[str, str] = {}
        if root is not None:
            self.root_attributes = _attributes(root)
            self._read(root)
            for beside in _siblings(root):
                self._judge(0, beside, "")

    @property
    def head(self) -> str:
        """Its head as HTML."""
        return _inner(self._tree.head)

    @property
    def body(self) -> str:
        """Its body as HTML."""
        return _inner(self._tree.body)

    @property
    def body_attributes(self) -> Mapping[str, str]:
        """Those of the body's own tag."""
        return _attributes(self._tree.body) if self._tree.body is not None else {}

    def _read(self, root: LexborNode) -> None:
        # Not recursive: a template nests as deep as it likes.
        waiting: list[tuple[int, LexborNode, str]] = [(0, root, "")]
        while waiting:
            depth, node, parent = waiting.pop()
            self._judge(depth, node, parent)
            child = node.child
            children = []
            while child is not None:
                children.append((depth + 1, child, node.tag or ""))
                child = child.next
            waiting.extend(reversed(children))

    def _judge(self, depth: int, node: LexborNode, parent: str) -> None:
        tag = node.tag or ""
        if node.is_comment_node:
            self._comment(node.comment_content or "")
        elif node.is_text_node:
            self._text(depth, node.text_content or "", parent)
        elif node.is_element_node:
            self._element(depth, tag, _attributes(node), parent)

    def _comment(self, content: str) -> None:
        # Outlook reads what stands in such a comment as part of the message; others are notes, and are left out.
        if content.lstrip().lower().startswith(("[if", "[endif")):
            self._find("[if", Fault("mail_comment_refused"))

    def _text(self, depth: int, text: str, parent: str) -> None:
        if parent == "html" and not text.strip():
            return
        for fault in sheet_faults(text) if parent == "style" else text_faults(text):
            self._find(_fragment_of(fault), fault)
        self.pieces.append((depth, text))

    def _element(self, depth: int, tag: str, attributes: Mapping[str, str], parent: str) -> None:
        allowed = {"html": _FRAME, "head": HEAD_TAGS}.get(parent, BODY_TAGS)
        if tag not in allowed and not (tag == "html" and not parent):
            self._find(f"<{tag}", Fault("mail_tag_refused", tag=tag[:100]))
        elif tag == "meta":
            for fault in meta_faults(dict(attributes)):
                self._find("<meta", fault)
        for name, value in attributes.items():
            for fault in attribute_faults(tag, name, value):
                self._find(_fragment_of(fault), fault)
        self.pieces.append((depth, tag, tuple(sorted(attributes.items()))))

    def _find(self, fragment: str, fault: Fault) -> None:
        self.findings.append(Finding(fragment, fault))


def findings(html: str) -> list[Finding]:
    """What a message has and may not have, as it stands."""
    return _Reading(html).findings


def clean(html: str) -> tuple[str, list[Finding]]:
    """The message as it may leave, or what it has that may not; then it is empty.

    Args:
        html: A complete document, its CSS inlined.
    """
    if len(html) > LARGEST_HTML_CHARACTERS:
        fault = Fault("template_prints_too_much", megabytes=LARGEST_HTML_CHARACTERS // 2**20)
        return "", [Finding("", fault)]
    read = _Reading(html)
    if read.findings:
        return "", read.findings
    cleaned = _written(read)
    again = _Reading(cleaned)
    if again.findings or again.pieces != read.pieces:
        return "", [Finding("", Fault("mail_ambiguous", place=_first_difference(read.pieces, again.pieces)))]
    return cleaned, []


def clean_message(message: bytes) -> bytes:
    """The message that `MailTypesetter` made, as it may leave.

    Raises:
        PartFaultError: It has what no message may have, or is none at all.
    """
    match json.loads(message):
        case {"subject": str(subject), "text": str(text), "html": str(html), **others} if not others:
            pass
        case _:
            raise PartFaultError(MAIL_HTML, None, Fault("mail_malformed"))
    for part, words in ((SUBJECT, subject), (MAIL_TEXT, text)):
        for fault in text_faults(words):
            raise PartFaultError(part, None, fault)
    cleaned, found = clean(html)
    if found:
        raise PartFaultError(MAIL_HTML, None, found[0].fault)
    return json.dumps({"subject": subject, "text": text, "html": cleaned}).encode()


_SANITISER_TAGS = BODY_TAGS | HEAD_TAGS
_SANITISER = nh3.Cleaner(
    tags=set(_SANITISER_TAGS),
    clean_content_tags={"script"},
    attributes={
        "*": {*ATTRIBUTES, "style"},
        "meta": {"charset", "name", "content", "http-equiv"},
        **{
            tag: {name for name, tags in (LINKS | PICTURES).items() if tag in tags}
            for tag in frozenset().union(*LINKS.values(), *PICTURES.values()) - {"body"}
        },
    },
    attribute_filter=lambda tag, name, value: None if any(attribute_faults(tag, name, value)) else value,
    generic_attribute_prefixes={ATTRIBUTE_PREFIX},
    url_schemes={"https", "mailto", "cid", "data"},
    link_rel=None,
    strip_comments=True,
)


def _written(read: _Reading) -> str:
    """The document around the parts is ours: a sanitiser knows fragments only."""
    return (
        f"<!DOCTYPE html><html{_in_tag(read.root_attributes)}><head>{_SANITISER.clean(read.head)}</head>"
        f"<body{_in_tag(read.body_attributes)}>{_SANITISER.clean(read.body)}</body></html>"
    )


def _in_tag(attributes: Mapping[str, str]) -> str:
    """Attributes without a fault as they are written; their names are on a list."""
    return "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())


def _attributes(node: LexborNode) -> dict[str, str]:
    return {name: value or "" for name, value in node.attributes.items()}


def _siblings(root: LexborNode) -> Iterator[LexborNode]:
    """What stands before and behind the document's element: comments."""
    node = root.prev
    while node is not None:
        yield node
        node = node.prev
    node = root.next
    while node is not None:
        yield node
        node = node.next


def _inner(node: LexborNode | None) -> str:
    return "" if node is None else node.inner_html or ""


def _first_difference(before: list[_Piece], after: list[_Piece]) -> str:
    pairs: Iterator[tuple[_Piece, _Piece]] = zip(before, after, strict=False)
    differing = next((ours for ours, theirs in pairs if ours != theirs), (0, "…"))
    return str(differing[1])[:60]


def _fragment_of(fault: Fault) -> str:
    """What a fault speaks of, as it most likely stands in the template."""
    for name in ("url", "link", "attribute", "what"):
        if name in fault.values:
            return str(fault.values[name])
    return ""
