"""A template's problems, found by printing it with sample documents; it runs in the child process."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace

from jinja2 import meta, nodes

from invoicing.rendering.assignment import LARGEST_MAIL_BYTES
from invoicing.rendering.errors import PartFaultError, cut
from invoicing.rendering.mail_cleaning import Finding, clean, findings
from invoicing.rendering.mail_rules import text_faults
from invoicing.rendering.mail_typesetting import MailTypesetter
from invoicing.rendering.pdf_rules import pdf_faults
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
            fields = self._template.fields
            known = (
                invoice_variables(sample_invoice(), fields)
                if part == INVOICE_HTML
                else mail_variables(sample_mail(), fields)
            )
            unknown = _unknown_names(compiled, set(known))
            for name in unknown:
                fault = Fault("template_variable_unknown", name=name, known=", ".join(known))
                yield _problem(part, _line_of(source, name), fault)
        try:
            if part in (INVOICE_HTML, INVOICE_CSS):
                yield from self._typeset(part, source)
            else:
                yield from self._read_mail(part, compiled)
        except PartFaultError as error:
            if error.fault.code != "template_name_undefined" or error.fault.values["name"] not in unknown:
                yield _problem(error.part, error.line, error.fault)

    def _with(self, parts: Mapping[str, str]) -> Template:
        return replace(self._template, parts=parts)

    def _mail_typesetter(self, part: str) -> MailTypesetter:
        """One that can fail on ``part`` only: a problem is reported with its own part, once."""
        blank = {MAIL_HTML: "<p></p>", MAIL_TEXT: "", INVOICE_HTML: "", INVOICE_CSS: ""}
        parts = {name: self._template.parts[name] if name == part else text for name, text in blank.items()}
        subject = self._subject if part == SUBJECT else "-"
        # What a message may be at most, it may be at most here.
        most = min(self._largest_bytes, LARGEST_MAIL_BYTES)
        return MailTypesetter(self._with(parts), subject, most)

    def _typeset(self, part: str, source: str) -> Iterable[TemplateProblem]:
        from invoicing.rendering.typesetting import Typesetter  # half a second that a subject does not need

        parts = dict(self._template.parts)
        if part == INVOICE_CSS:
            parts[INVOICE_HTML] = "<p>{{ invoice.number }}</p>"
        else:
            parts[INVOICE_CSS] = ""
        typesetter = Typesetter(self._with(parts), self._largest_bytes)
        for document in sample_invoices() if part == INVOICE_HTML else [sample_invoice()]:
            for fault in pdf_faults(typesetter.typeset(document)):
                yield _problem(part, _line_of(source, str(fault.values.get("link", ""))), fault)
        for url in typesetter.fetcher.blocked:
            yield _blocked(part, source, url)
        for note in typesetter.log.notes:
            if part == INVOICE_CSS and note.line is not None:
                yield _problem(part, note.line, note.fault, is_warning=note.is_about_ignored_css)
            elif note.relative_url is not None:
                yield _blocked(part, source, note.relative_url)
        if part == INVOICE_CSS and "appearance" in source.lower():
            yield from self._typeset_whole()

    def _typeset_whole(self) -> Iterable[TemplateProblem]:
        """What style sheet and HTML make only together: a form, of fields that the style sheet lets appear."""
        from invoicing.rendering.typesetting import Typesetter

        def faults(css: str) -> list[Fault]:
            template = self._with({**self._template.parts, INVOICE_CSS: css})
            return list(pdf_faults(Typesetter(template, self._largest_bytes).typeset(sample_invoice())))

        try:
            found = faults(self._template.parts[INVOICE_CSS])
            of_html_alone = faults("") if found else []
        except PartFaultError:
            return  # said of the part that is to blame
        for fault in found:
            if fault not in of_html_alone:
                yield _problem(INVOICE_CSS, None, fault)

    def _read_mail(self, part: str, compiled: Part) -> Iterable[TemplateProblem]:
        """What a message must not have, as the template writes it and as it would leave."""
        typesetter = self._mail_typesetter(part)
        for document in sample_mails():
            if part == MAIL_HTML:
                # A style that no sample uses is gone from the finished message.
                printed = findings(compiled.render(mail_variables(document, self._template.fields)))
            message = json.loads(typesetter.typeset(document))
            if part == MAIL_HTML:
                found = [*printed, *clean(message["html"])[1]]
            else:
                text = message["subject" if part == SUBJECT else "text"]
                found = [Finding("", fault) for fault in text_faults(text)]
            for each in found:
                yield _problem(part, _line_of(compiled.source, each.fragment), each.fault)


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
