"""What a finished PDF may be made of: pages to read, with links by list; nothing that runs, sends or is carried along.

Whatever a reader acts on hangs from the catalogue, a page, an annotation or an outline: of those every key is on a
list. Elsewhere (fonts, pictures, the tags for screen readers) only files could hide: embedded, or referred to.
"""

import io
from collections.abc import Iterable, Iterator

import pikepdf
from pikepdf import Dictionary, Name, Object, Stream

from invoicing.rendering.allowlist import listed
from invoicing.rendering.errors import PartFaultError
from invoicing.rendering.parts import INVOICE_HTML
from invoicing.words.failures import Fault

LINK_SCHEMES = ("https:", "mailto:", "http:", "tel:")
"""How a link may begin, one to another place of the document apart."""

_CATALOG = listed("""
    /Type /Pages /Lang /Outlines /Names /Metadata /StructTreeRoot /ViewerPreferences /MarkInfo /Version /Extensions
    /PageMode /PageLayout
""")
_NAMES = frozenset(("/Dests",))
_PAGE = listed("""
    /Type /Parent /MediaBox /CropBox /BleedBox /TrimBox /ArtBox /Contents /Resources /Annots /Tabs /StructParents
    /Group /Rotate /UserUnit
""")
_ANNOTATION = listed("/Type /Subtype /Rect /Border /BS /C /F /H /A /Dest /Contents /P /StructParent")
_ACTIONS = {"/URI": frozenset(("/Type", "/S", "/URI")), "/GoTo": frozenset(("/Type", "/S", "/D"))}
_OUTLINE = listed("/Title /Parent /Prev /Next /First /Last /Count /Dest /C /F")
_MOST_OUTLINES = 10_000


def inspect_invoice(content: bytes) -> bytes:
    """Nothing, where a finished invoice is as it may be.

    Raises:
        PartFaultError: It has what no document may have.
    """
    for fault in pdf_faults(content):
        raise PartFaultError(INVOICE_HTML, None, fault)
    return b""


def pdf_faults(content: bytes) -> Iterator[Fault]:
    """What a finished PDF has and may not have."""
    try:
        with pikepdf.open(io.BytesIO(content), attempt_recovery=False) as pdf:
            yield from _faults(pdf)
    except (pikepdf.PdfError, pikepdf.PasswordError, ValueError, TypeError) as error:
        yield Fault("pdf_unreadable", reason=str(error)[:200])


def _faults(pdf: pikepdf.Pdf) -> Iterator[Fault]:
    if pdf.is_encrypted:
        yield _refused("/Encrypt")
    yield from _unlisted(pdf.Root, _CATALOG)
    if Name.Names in pdf.Root:
        yield from _unlisted(pdf.Root.Names, _NAMES)
    for page in pdf.pages:
        yield from _unlisted(page.obj, _PAGE)
        yield from _annotation_faults(page.obj.get("/Annots", ()))
    yield from _outline_faults(pdf.Root.get("/Outlines"))
    yield from _file_faults(pdf)


def _annotation_faults(annotations: Iterable[Object]) -> Iterator[Fault]:
    for annotation in annotations:
        kind = str(annotation.get("/Subtype"))
        if kind != "/Link":
            yield _refused(kind)
            continue
        yield from _unlisted(annotation, _ANNOTATION)
        if Name.A in annotation:
            yield from _action_faults(annotation.A)


def _action_faults(action: Object) -> Iterator[Fault]:
    kind = str(action.get("/S"))
    if kind not in _ACTIONS:
        yield _refused(kind)
        return
    yield from _unlisted(action, _ACTIONS[kind])
    if kind == "/URI":
        link = str(action.URI)
        if not link.strip().lower().startswith(LINK_SCHEMES):
            yield Fault("pdf_link_refused", link=link[:100], schemes=", ".join(LINK_SCHEMES))
    elif isinstance(action.D, Dictionary):
        yield _refused("/GoTo")


def _outline_faults(outlines: Object | None) -> Iterator[Fault]:
    waiting = [] if outlines is None else [outlines]
    seen: set[tuple[int, int]] = set()
    while waiting:
        item = waiting.pop()
        if item.objgen in seen:
            continue
        seen.add(item.objgen)
        if not item.is_indirect or len(seen) > _MOST_OUTLINES:
            yield _refused("/Outlines")
            return
        yield from _unlisted(item, _OUTLINE | {"/Type"})
        waiting += [item[key] for key in ("/First", "/Next") if key in item]


def _file_faults(pdf: pikepdf.Pdf) -> Iterator[Fault]:
    """Files that are carried along, or fetched from elsewhere, wherever they hang."""
    for thing in pdf.objects:
        if isinstance(thing, Stream) and "/F" in thing:
            yield _refused("/F")
        elif isinstance(thing, Dictionary) and ("/EF" in thing or "/AF" in thing or "/JS" in thing):
            yield _refused("/EF")


def _unlisted(thing: Object, listed: frozenset[str]) -> Iterator[Fault]:
    for key in thing.keys():  # noqa: SIM118 (an Object is no mapping)
        if key not in listed:
            yield _refused(key)


def _refused(what: str) -> Fault:
    return Fault("pdf_content_refused", what=what[:100])
