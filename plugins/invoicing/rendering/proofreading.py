"""A template's problems, found by printing it with sample documents; it runs in the child process."""

import html.parser
import json
import re
from collections.abc import Iterable
from dataclasses import asdict

from jinja2 import meta, nodes

from invoicing.rendering.assignment import LARGEST_MAIL_BYTES
from invoicing.rendering.errors import PartFaultError, cut
from invoicing.rendering.mail_typesetting import MailTypesetter
from invoicing.rendering.sample import sample_invoice, sample_invoices, sample_mail, sample_mails
from invoicing.rendering.templates import (
    INVOICE_CSS,
    INVOICE_HTML,
    MAIL_HTML,
    MAIL_TEXT,
    SUBJECT,
    Part,
    Template,
    environment,
    invoice_variables,
    mail_variables,
)
from invoicing.rendering.validation import MOST_PROBLEMS, TemplateProblem
from invoicing.words.failures import Fault

# In mail these do nothing in some readers and have the message thrown away by others.
ACTIVE_TAGS = frozenset(
    (
        "script",
        "iframe",
        "object",
        "embed",
        "form",
        "input",
        "button",
        "base",
        "link",
        "audio",
        "video",
        "svg",
    )
)
LINK_SCHEMES = ("https://", "http://", "mailto:", "tel:", "#")
EMBEDDED_SCHEMES = ("data:", "cid:")
_CSS_REFERENCE = re.compile(r"""url\(\s*['"]?([^'")]*)|@import\s+['"]([^'"]*)""", re.IGNORECASE)


class Proofreader:
    """Finds what is wrong with one template and a subject."""

    def __init__(self, template: Template, subject: str, largest_bytes: int) -> None:
        self._template = template
        self._subject = subject
        self._largest_bytes = largest_bytes

    def proofread(self, part: str) -> bytes:
        """The problems of ``part`` (or the subject) as JSON."""
        source = self._subject if part == SUBJECT else self._template.parts[part]
        unique: dict[tuple[object, ...], TemplateProblem] = {}
        for problem in self._problems_of(part, source):
            unique.setdefault((problem.line, problem.code, *problem.values.values()), problem)
            if len(unique) == MOST_PROBLEMS:
                break
        return json.dumps([asdict(problem) for problem in unique.values()], ensure_ascii=False).encode(
            errors="replace"
        )

    def _problems_of(self, part: str, source: str) -> Iterable[TemplateProblem]:
        unknown: list[str] = []
        if part != INVOICE_CSS:
            try:
                compiled = Part(environment(), part, source, self._largest_bytes)
            except PartFaultError as error:
                yield _problem(error.part, error.line, error.fault)
                return
            known = (
                invoice_variables(sample_invoice()) if part == INVOICE_HTML else mail_variables(sample_mail())
            )
            unknown = _unknown_names(compiled, set(known))
            for name in unknown:
                fault = Fault("template_variable_unknown", name=name, known=", ".join(known))
                yield _problem(part, _line_of(source, name), fault)
        try:
            if part in (INVOICE_HTML, INVOICE_CSS):
                yield from self._typeset(part, source)
            elif part == MAIL_HTML:
                yield from self._inspect_mail(compiled)
            for document in sample_mails() if part in (MAIL_HTML, MAIL_TEXT, SUBJECT) else ():
                self._mail_typesetter(part).typeset(document)
        except PartFaultError as error:
            if error.fault.code != "template_name_undefined" or error.fault.values["name"] not in unknown:
                yield _problem(error.part, error.line, error.fault)

    def _mail_typesetter(self, part: str) -> MailTypesetter:
        """One that can fail on ``part`` only: a problem is reported with its own part, once."""
        blank = {MAIL_HTML: "<p></p>", MAIL_TEXT: "", INVOICE_HTML: "", INVOICE_CSS: ""}
        parts = {name: self._template.parts[name] if name == part else text for name, text in blank.items()}
        subject = self._subject if part == SUBJECT else "-"
        # What a message may be at most, it may be at most here.
        most = min(self._largest_bytes, LARGEST_MAIL_BYTES)
        return MailTypesetter(Template(self._template.name, 0, parts), subject, most)

    def _typeset(self, part: str, source: str) -> Iterable[TemplateProblem]:
        from invoicing.rendering.typesetting import Typesetter  # half a second that a subject does not need

        parts = dict(self._template.parts)
        if part == INVOICE_CSS:
            parts[INVOICE_HTML] = "<p>{{ invoice.number }}</p>"
        else:
            parts[INVOICE_CSS] = ""
        typesetter = Typesetter(
            Template(self._template.name, 0, parts, self._template.folder), self._largest_bytes
        )
        for document in sample_invoices() if part == INVOICE_HTML else [sample_invoice()]:
            typesetter.typeset(document)
        for url in typesetter.fetcher.blocked:
            yield _blocked(part, source, url)
        for note in typesetter.log.notes:
            if part == INVOICE_CSS and note.line is not None:
                yield _problem(part, note.line, note.fault, is_warning=note.is_about_ignored_css)
            elif note.relative_url is not None:
                yield _blocked(part, source, note.relative_url)

    def _inspect_mail(self, compiled: Part) -> Iterable[TemplateProblem]:
        inspector = _MailInspector()
        inspector.feed(compiled.render(mail_variables(sample_mail())))
        inspector.close()
        for fragment, fault in inspector.findings:
            yield _problem(MAIL_HTML, _line_of(compiled.source, fragment), fault)


class _MailInspector(html.parser.HTMLParser):
    """Looks for what a message must not have: things loaded from elsewhere, and things that act.

    A picture on a server tells its owner who opened which invoice, and when; and is not shown by most readers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.findings: list[tuple[str, Fault]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ACTIVE_TAGS:
            self.findings.append((f"<{tag}", Fault("mail_tag_refused", tag=tag)))
        for name, raw in attrs:
            value = (raw or "").strip()
            if name.startswith("on"):
                self.findings.append((name, Fault("mail_script_refused", attribute=name)))
            elif name == "href" and tag == "a":
                if not value.lower().startswith(LINK_SCHEMES):
                    fault = Fault("mail_link_refused", link=value[:100], schemes=", ".join(LINK_SCHEMES))
                    self.findings.append((value, fault))
            elif name in ("src", "srcset", "href", "background", "poster", "data", "action"):
                self._reference(value)
            elif name == "style":
                self.handle_data(value)

    def handle_data(self, data: str) -> None:
        for match in _CSS_REFERENCE.finditer(data):
            self._reference(match[1] or match[2] or "")

    def _reference(self, url: str) -> None:
        if not url.lower().startswith(EMBEDDED_SCHEMES):
            self.findings.append((url, Fault("mail_resource_blocked", url=url[:200])))


def _unknown_names(part: Part, known: set[str]) -> list[str]:
    """Names that no document has, in branches too that no sample enters."""
    sandbox = environment()
    tree = sandbox.parse(part.source)
    # Jinja also lists names that only some branch sets; those are for the samples to find.
    assigned = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
    return sorted(meta.find_undeclared_variables(tree) - known - set(sandbox.globals) - assigned)


def _problem(part: str, line: int | None, fault: Fault, *, is_warning: bool = False) -> TemplateProblem:
    return TemplateProblem(part, line, fault.code, cut(fault.values), is_warning)


def _blocked(part: str, source: str, url: str) -> TemplateProblem:
    line = _line_of(source, url.removeprefix("file://")) or _line_of(source, url)
    return _problem(part, line, Fault("template_resource_blocked", url=url[:200]))


def _line_of(source: str, fragment: str) -> int | None:
    """Line of the first whole occurrence of ``fragment``."""
    found = re.search(rf"(?<!\w){re.escape(fragment)}(?!\w)" if fragment else r"\Z\A", source, re.IGNORECASE)
    return None if found is None else source.count("\n", 0, found.start()) + 1
