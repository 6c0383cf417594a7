"""What a message may be made of: tags, attributes, links and pictures by list.

The list has what lays text out; it lacks all that loads, runs, sends or hides something from the reader. Whatever is
not on it is a fault, however harmless: what a mail reader makes of it is not for us to guess.
"""

from collections.abc import Iterator

from invoicing.rendering.allowlist import listed
from invoicing.rendering.picture_rules import picture_fault
from invoicing.rendering.style_rules import declaration_faults
from invoicing.words.failures import Fault

BODY_TAGS = listed("""
    a abbr acronym address article aside b bdi big blockquote br caption center cite code col colgroup dd del dfn div
    dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark nav ol p pre q rp rt
    ruby s samp section small span strike strong sub sup table tbody td tfoot th thead time tr tt u ul var wbr
""")
HEAD_TAGS = frozenset(("meta", "style", "title"))

ATTRIBUTES = listed("""
    abbr align alt bgcolor border cellpadding cellspacing class color cols colspan compact datetime dir face headers
    height hidden hspace id lang name noshade nowrap rel reversed role rows rowspan rules scope size span start
    style summary tabindex target title type valign value vspace width xml:lang xmlns
""")
ATTRIBUTE_PREFIX = "aria-"
# Attributes with an address, each with the tags that may have it.
LINKS = {"href": frozenset(("a",))}
PICTURES = {"src": frozenset(("img",)), "background": frozenset(("body", "table", "td", "th", "tr"))}
_LOADING = listed("""
    action archive background cite classid codebase data dynsrc formaction href icon longdesc lowsrc manifest ping
    poster profile src srcset usemap xlink:href
""")

LINK_SCHEMES = ("https://", "mailto:", "#")
"""How a link may begin; ``#`` leads to another place of the message."""

META_NAMES = listed("""
    author color-scheme description format-detection supported-color-schemes viewport
    x-apple-disable-message-reformatting
""")
_META_HTTP = {"content-type": "text/html; charset=utf-8", "x-ua-compatible": "ie=edge"}
_XHTML = "http://www.w3.org/1999/xhtml"

# What no letter has: controls (tab and line ends apart) and what turns the order of the text around.
_UNSEEMLY = frozenset(
    map(
        chr,
        (*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)),
    )
) - {"\x85"}


def text_faults(text: str) -> Iterator[Fault]:
    """Characters that have no place in what a person reads."""
    if text.isprintable():
        return
    for character in sorted(_UNSEEMLY.intersection(text)):
        yield Fault("mail_character_refused", code=f"U+{ord(character):04X}")


def attribute_faults(tag: str, name: str, value: str) -> Iterator[Fault]:
    """What is wrong with an attribute, by its tag; names in small letters, the value as its reader has it."""
    yield from text_faults(value)
    if name == "style":
        yield from declaration_faults(value)
    elif tag in LINKS.get(name, ()):
        yield from _link_faults(value)
    elif tag in PICTURES.get(name, ()):
        fault = picture_fault(value)
        if fault is not None:
            yield fault
    elif tag == "meta":
        pass  # as a whole: what one attribute means is for the other one to say
    elif name.startswith("on"):
        yield Fault("mail_script_refused", attribute=name[:100])
    elif name == "xmlns" and value != _XHTML:
        yield _attribute_refused(tag, name)
    elif name in _LOADING:
        yield Fault("mail_resource_blocked", url=value.strip()[:200])
    elif name not in ATTRIBUTES and not name.startswith(ATTRIBUTE_PREFIX):
        yield _attribute_refused(tag, name)


def meta_faults(attributes: dict[str, str]) -> Iterator[Fault]:
    """What is wrong with a ``<meta>``: it says how the text is written and shown, and nothing else."""
    given = {name: " ".join(value.lower().split()) for name, value in attributes.items()}
    match given:
        case {"charset": "utf-8", **others} if not others:
            return
        case {"name": name, "content": _, **others} if name in META_NAMES and not others:
            return
        case {"http-equiv": name, "content": content, **others} if (
            _META_HTTP.get(name) == content and not others
        ):
            return
    named = attributes.get("http-equiv") or attributes.get("name") or next(iter(attributes), "")
    yield Fault("mail_tag_refused", tag=f"meta {named}".strip()[:100])


def _link_faults(value: str) -> Iterator[Fault]:
    # Browsers drop line ends and blanks from an address; whatever is written so begins with none of these.
    if not value.strip().lower().startswith(LINK_SCHEMES):
        yield Fault("mail_link_refused", link=value.strip()[:100], schemes=", ".join(LINK_SCHEMES))


def _attribute_refused(tag: str, name: str) -> Fault:
    return Fault("mail_attribute_refused", attribute=name[:100], tag=tag[:100])
