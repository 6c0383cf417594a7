"""What the styles of a message may say: properties, functions and addresses by list, read as a browser reads them.

The list has what lays text out and colours it. It lacks what loads (``url()`` of a server, ``@import``,
``@font-face``), what acts (``behavior``, ``expression()``), what lays a message over the reader's own page
(``position: fixed``) and what turns digits around (``unicode-bidi``).
"""

import functools
from collections.abc import Iterable, Iterator

import tinycss2
from tinycss2.ast import Node

from invoicing.rendering.allowlist import listed
from invoicing.rendering.errors import LONGEST_VALUE
from invoicing.rendering.picture_rules import picture_fault
from invoicing.words.failures import Fault

PROPERTIES = listed("""
    align-content align-items align-self all aspect-ratio
    background background-attachment background-blend-mode background-clip background-color background-image
    background-origin background-position background-position-x background-position-y background-repeat
    background-size
    border border-block border-block-end border-block-start border-bottom border-bottom-color
    border-bottom-left-radius border-bottom-right-radius border-bottom-style border-bottom-width border-collapse
    border-color border-inline border-inline-end border-inline-start border-left border-left-color
    border-left-style border-left-width border-radius border-right border-right-color border-right-style
    border-right-width border-spacing border-style border-top border-top-color border-top-left-radius
    border-top-right-radius border-top-style border-top-width border-width
    bottom box-shadow box-sizing break-after break-before break-inside caption-side clear color color-scheme
    column-count column-gap column-rule column-width columns cursor direction display empty-cells
    flex flex-basis flex-direction flex-flow flex-grow flex-shrink flex-wrap float
    font font-family font-feature-settings font-kerning font-size font-size-adjust font-stretch font-style
    font-variant font-variant-caps font-variant-ligatures font-variant-numeric font-weight
    gap grid grid-area grid-auto-columns grid-auto-flow grid-auto-rows grid-column grid-column-gap grid-gap
    grid-row grid-row-gap grid-template grid-template-areas grid-template-columns grid-template-rows
    height hyphens inline-size justify-content justify-items justify-self left letter-spacing line-break
    line-height list-style list-style-position list-style-type
    margin margin-block margin-block-end margin-block-start margin-bottom margin-inline margin-inline-end
    margin-inline-start margin-left margin-right margin-top
    max-height max-width min-height min-width object-fit object-position opacity order orphans
    outline outline-color outline-offset outline-style outline-width
    overflow overflow-wrap overflow-x overflow-y
    padding padding-block padding-block-end padding-block-start padding-bottom padding-inline padding-inline-end
    padding-inline-start padding-left padding-right padding-top
    page-break-after page-break-before page-break-inside place-content place-items place-self position quotes
    right row-gap tab-size table-layout text-align text-align-last text-decoration text-decoration-color
    text-decoration-line text-decoration-style text-decoration-thickness text-indent text-overflow text-shadow
    text-size-adjust text-transform text-underline-offset text-underline-position text-wrap top
    vertical-align visibility white-space widows width word-break word-spacing word-wrap writing-mode zoom
    -moz-osx-font-smoothing -moz-text-size-adjust -ms-interpolation-mode -ms-text-size-adjust
    -webkit-border-radius -webkit-box-shadow -webkit-box-sizing -webkit-font-smoothing -webkit-hyphens
    -webkit-text-fill-color -webkit-text-size-adjust
""")
# Outlook's own: spacing of tables and lines, fonts by alphabet, what it hides. None of them loads anything.
PROPERTY_PREFIXES = ("mso-",)
FUNCTIONS = listed("""
    calc clamp fit-content hsl hsla hwb lab lch linear-gradient max min minmax oklab oklch radial-gradient
    repeat repeating-linear-gradient rgb rgba url
""")
POSITIONS = frozenset(("static", "relative", "initial", "inherit", "unset"))
GROUPING_RULES = frozenset(("media", "supports"))
_PLAIN = frozenset(("ident", "dimension", "number", "percentage", "hash", "string", "whitespace", "comment"))
_SIGNS = frozenset(",/+-*!;:")


@functools.lru_cache(maxsize=2048)
def declaration_faults(style: str) -> tuple[Fault, ...]:
    """What a ``style`` attribute says that none may; a message has few different ones, and each many times."""
    return tuple(_block_faults(tinycss2.parse_blocks_contents(style, skip_whitespace=True)))


@functools.lru_cache(maxsize=64)
def sheet_faults(sheet: str) -> tuple[Fault, ...]:
    """What a ``<style>`` says that none may."""
    if "<" in sheet:
        # What is text to one reader is a tag to another one.
        return (_refused("<"),)
    return tuple(_rules_faults(tinycss2.parse_stylesheet(sheet, skip_comments=True, skip_whitespace=True)))


def _rules_faults(rules: Iterable[Node]) -> Iterator[Fault]:
    for rule in rules:
        if rule.type == "qualified-rule":
            yield from _selector_faults(rule.prelude)
            yield from _block_faults(tinycss2.parse_blocks_contents(rule.content, skip_whitespace=True))
        elif rule.type == "at-rule" and rule.lower_at_keyword in GROUPING_RULES and rule.content is not None:
            yield from _selector_faults(rule.prelude)
            yield from _rules_faults(
                tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
            )
        elif rule.type == "at-rule" and rule.lower_at_keyword == "import":
            # The address is the first text of it, `@import url(x)` or `@import "x"`.
            yield Fault("mail_resource_blocked", url=_first_address(rule.prelude))
        elif rule.type == "at-rule":
            yield _refused(f"@{rule.lower_at_keyword}")
        else:
            yield _refused(tinycss2.serialize([rule]) if rule.type != "error" else rule.message)


def _block_faults(nodes: Iterable[Node]) -> Iterator[Fault]:
    for node in nodes:
        if node.type == "declaration":
            yield from _value_faults(node.lower_name, node.value)
        elif node.type == "error":
            yield _refused(node.message)
        elif node.type != "comment":
            # Rules within rules: few mail readers know them, and each in its own way.
            yield _refused(tinycss2.serialize([node]))


def _value_faults(name: str, value: Iterable[Node]) -> Iterator[Fault]:
    if name not in PROPERTIES and not name.startswith(PROPERTY_PREFIXES):
        yield _refused(name)
    if name == "position" and any(
        token.type == "ident" and token.lower_value not in POSITIONS for token in value
    ):
        yield _refused(f"position: {tinycss2.serialize(value).strip()}")
    yield from _token_faults(value)


def _token_faults(tokens: Iterable[Node]) -> Iterator[Fault]:
    for token in tokens:
        if token.type in _PLAIN or (token.type == "literal" and token.value in _SIGNS):
            continue
        if token.type == "url":
            yield from _address_faults(token.value)
        elif token.type == "function" and token.lower_name == "url":
            yield from _address_faults(_first_address(token.arguments))
        elif token.type == "function" and token.lower_name in FUNCTIONS:
            yield from _token_faults(token.arguments)
        elif token.type == "() block":
            yield from _token_faults(token.content)
        elif token.type == "function":
            yield _refused(f"{token.lower_name}()")
            # What it would load is what its editor has to see.
            yield from _token_faults(token.arguments)
        else:
            yield _refused(tinycss2.serialize([token]) if token.type != "error" else token.message)


def _selector_faults(tokens: Iterable[Node]) -> Iterator[Fault]:
    """Of what stands before a block: nothing in it loads, but it must be what it seems."""
    for token in tokens:
        if token.type in ("error", "url", "{} block"):
            yield _refused(tinycss2.serialize([token]) if token.type != "error" else token.message)


def _address_faults(address: str) -> Iterator[Fault]:
    fault = picture_fault(address)
    if fault is not None:
        yield fault


def _first_address(tokens: Iterable[Node]) -> str:
    for token in tokens:
        if token.type in ("string", "url"):
            return str(token.value)[:LONGEST_VALUE]
        if token.type == "function":
            return _first_address(token.arguments)
    return ""


def _refused(what: str) -> Fault:
    return Fault("mail_style_refused", what=what[:100])
