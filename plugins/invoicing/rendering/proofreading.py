"""A template's problems, found by printing it with sample documents; it runs in the child process."""

import html.parser
import json
import re
from collections.abc import Iterable
from dataclasses import asdict

from jinja2 import meta, nodes

from invoicing.rendering.composing import Composer
from invoicing.rendering.errors import TemplateFaultError
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
from invoicing.rendering.validation import Problem

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
_WEASYPRINT_POSITION = re.compile(r" at (\d+):\d+")


class Proofreader:
    """Finds what is wrong with one template and a subject."""

    def __init__(self, template: Template, subject: str, largest_bytes: int) -> None:
        self._template = template
        self._subject = subject
        self._largest_bytes = largest_bytes

    def proofread(self, part: str) -> bytes:
        """The problems of ``part`` (or the subject) as JSON."""
        source = self._subject if part == SUBJECT else self._template.parts[part]
        problems = list(self._problems_of(part, source))
        unique = {(problem.line, problem.message): problem for problem in problems}
        return json.dumps([asdict(problem) for problem in unique.values()]).encode()

    def _problems_of(self, part: str, source: str) -> Iterable[Problem]:
        unknown: list[str] = []
        if part != INVOICE_CSS:
            try:
                compiled = Part(environment(), part, source, self._largest_bytes)
            except TemplateFaultError as fault:
                yield _problem(fault)
                return
            known = (
                invoice_variables(sample_invoice()) if part == INVOICE_HTML else mail_variables(sample_mail())
            )
            unknown = _unknown_names(compiled, set(known))
            for name in unknown:
                message = f"unknown variable {name!r}; known are {', '.join(known)}"
                yield Problem(part, _line_of(source, name), message)
        try:
            if part in (INVOICE_HTML, INVOICE_CSS):
                yield from self._typeset(part, source)
            elif part == MAIL_HTML:
                yield from self._inspect_mail(compiled)
            for document in sample_mails() if part in (MAIL_HTML, MAIL_TEXT, SUBJECT) else ():
                self._composer(part).compose(document)
        except TemplateFaultError as fault:
            if not any(fault.message == f"{name!r} is undefined" for name in unknown):
                yield _problem(fault)

    def _composer(self, part: str) -> Composer:
        """One that can fail on ``part`` only: a problem is reported with its own part, once."""
        blank = {MAIL_HTML: "<p></p>", MAIL_TEXT: "", INVOICE_HTML: "", INVOICE_CSS: ""}
        parts = {name: self._template.parts[name] if name == part else text for name, text in blank.items()}
        subject = self._subject if part == SUBJECT else "-"
        return Composer(Template(self._template.name, 0, parts), subject, self._largest_bytes)

    def _typeset(self, part: str, source: str) -> Iterable[Problem]:
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
        for message in typesetter.complaints.messages:
            position = _WEASYPRINT_POSITION.search(message)
            if part == INVOICE_CSS and position is not None:
                yield Problem(part, int(position[1]), message, is_warning=message.startswith("Ignored"))
            elif "Relative URI reference" in message:
                url = message.rpartition(": ")[2].strip("'\"")
                yield _blocked(part, source, url)

    def _inspect_mail(self, compiled: Part) -> Iterable[Problem]:
        inspector = _MailInspector()
        inspector.feed(compiled.render(mail_variables(sample_mail())))
        inspector.close()
        for fragment, message in inspector.findings:
            yield Problem(MAIL_HTML, _line_of(compiled.source, fragment), message)


class _MailInspector(html.parser.HTMLParser):
    """Looks for what a message must not have: things loaded from elsewhere, and things that act.

    A picture on a server tells its owner who opened which invoice, and when; and is not shown by most readers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.findings: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ACTIVE_TAGS:
            self.findings.append((f"<{tag}", f"<{tag}> has no place in a message"))
        for name, raw in attrs:
            value = (raw or "").strip()
            if name.startswith("on"):
                self.findings.append((name, f"{name}: scripts have no place in a message"))
            elif name == "href" and tag == "a":
                if not value.lower().startswith(LINK_SCHEMES):
                    self.findings.append(
                        (value, f"link {value[:100]!r} starts with none of {', '.join(LINK_SCHEMES)}")
                    )
            elif name in ("src", "srcset", "href", "background", "poster", "data", "action"):
                self._reference(value)
            elif name == "style":
                self.handle_data(value)

    def handle_data(self, data: str) -> None:
        for match in _CSS_REFERENCE.finditer(data):
            self._reference(match[1] or match[2] or "")

    def _reference(self, url: str) -> None:
        if not url.lower().startswith(EMBEDDED_SCHEMES):
            self.findings.append((url, f"{url[:200]!r} is blocked: a message loads nothing from elsewhere"))


def _unknown_names(part: Part, known: set[str]) -> list[str]:
    """Names that no document has, in branches too that no sample enters."""
    sandbox = environment()
    tree = sandbox.parse(part.source)
    # Jinja also lists names that only some branch sets; those are for the samples to find.
    assigned = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
    return sorted(meta.find_undeclared_variables(tree) - known - set(sandbox.globals) - assigned)


def _problem(fault: TemplateFaultError) -> Problem:
    return Problem(fault.part, fault.line, fault.message)


def _blocked(part: str, source: str, url: str) -> Problem:
    message = f"{url[:200]!r} is blocked: only data: URIs and files of the template's own folder are read"
    return Problem(part, _line_of(source, url.removeprefix("file://")) or _line_of(source, url), message)


def _line_of(source: str, fragment: str) -> int | None:
    """Line of the first whole occurrence of ``fragment``."""
    found = re.search(rf"(?<!\w){re.escape(fragment)}(?!\w)" if fragment else r"\Z\A", source, re.IGNORECASE)
    return None if found is None else source.count("\n", 0, found.start()) + 1
