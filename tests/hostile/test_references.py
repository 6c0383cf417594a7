"""Documents that load something, run something, lead astray or carry a file along: saved, drawn, sent, and opened.

A check draws sample documents; the month is where hostile parts show themselves. So each trick is sent to a tenant of
its own by one template, and what arrives is looked at: by a browser too.
"""

import email
import email.policy
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pikepdf
import pytest
import tinycss2
import tinyhtml5

from invoicing.db.connection import Database, connect
from invoicing.domain.delivery import Batch
from invoicing.domain.errors import PermanentFailureError, TemporaryFailureError
from invoicing.domain.task_address import TaskAddress
from invoicing.rendering.assignment import Limits
from invoicing.rendering.templates import (
    INVOICE_CSS,
    INVOICE_HTML,
    MAIL_HTML,
    MAIL_TEXT,
    Template,
)
from invoicing.rendering.validation import validate
from invoicing.services.agency import templates
from invoicing.services.delivery import deliver, render
from invoicing.services.delivery.journal import Journal
from invoicing.services.delivery.ledger import Worker
from invoicing.words.failures import FAILURES
from support.agency import Agency
from support.archive import archive_in
from support.browser import open_chromium
from support.database import Server
from support.hostile import SECRET, Entry, Watch, corpus
from support.month import open_inbox
from support.rendering import SOUND

REFERENCES = corpus("references")
TENANTS = {f"R{number:02}": entry for number, entry in enumerate(REFERENCES.values(), start=1)}
OF_INVOICES = [entry for entry in REFERENCES.values() if entry["part"] != MAIL_HTML]
OF_MESSAGES = [entry for entry in REFERENCES.values() if entry["part"] == MAIL_HTML]

LOADING_ATTRIBUTES = frozenset(
    (
        "action",
        "background",
        "cite",
        "classid",
        "codebase",
        "data",
        "dynsrc",
        "formaction",
        "href",
        "icon",
        "imagesrcset",
        "longdesc",
        "lowsrc",
        "manifest",
        "ping",
        "poster",
        "profile",
        "src",
        "srcset",
    )
)
ACTIVE_ELEMENTS = frozenset(
    (
        "animate",
        "applet",
        "audio",
        "base",
        "button",
        "embed",
        "form",
        "frame",
        "frameset",
        "iframe",
        "input",
        "isindex",
        "link",
        "math",
        "meta",
        "noscript",
        "object",
        "picture",
        "portal",
        "script",
        "select",
        "source",
        "svg",
        "template",
        "textarea",
        "video",
        "xmp",
    )
)
INSIDE = re.compile(r"(cid:|data:image/(png|jpeg|gif)[;,]|#|$)", re.IGNORECASE)
LINKS = re.compile(r"(https:|mailto:|#|$)", re.IGNORECASE)
# Actions of a PDF that do more than lead to a page of its own (ISO 32000-1, table 198).
ACTIONS = frozenset(
    (
        "/GoToE",
        "/GoToR",
        "/Hide",
        "/ImportData",
        "/JavaScript",
        "/Launch",
        "/Movie",
        "/Named",
        "/Rendition",
        "/ResetForm",
        "/RichMediaExecute",
        "/Sound",
        "/SubmitForm",
        "/Thread",
    )
)


@dataclass(frozen=True, slots=True)
class Arrived:
    """What became of a tenant's delivery: the message that arrived, or why none did."""

    state: str
    why: str | None
    html: str = ""
    pdfs: Sequence[bytes] = ()


@pytest.fixture(scope="module")
def month(server: Server, watch: Watch, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Arrived]:
    """By the name of a trick, what became of it in a month that sends each to a tenant of its own."""
    folder = tmp_path_factory.mktemp("month")
    with server.fresh_copy() as dsn, connect(dsn) as db:
        _prepare(db, watch)
        messages = _send(db, folder)
        rows = db.execute(
            "SELECT t.code, d.state, d.message_id, d.last_reply FROM invoicing.delivery d"
            " JOIN invoicing.tenant t ON t.id = d.tenant_id"
        ).fetchall()
    return {
        TENANTS[row["code"]].name: Arrived(
            row["state"],
            row["last_reply"],
            _html(messages.get(row["message_id"])),
            _pdfs(messages.get(row["message_id"])),
        )
        for row in rows
    }


def _prepare(db: Database, watch: Watch) -> None:
    agency = Agency(db)
    for code in TENANTS:
        agency.add_tenant(code)
    with db.transaction():
        templates.lock_templates(db)
        templates.add_version(db, "hostile", Template("hostile", 0, _parts(watch)), actor="mallory")
    agency.set(auto_send=True, from_email="facturas@agencia.example", agency_name="A", template="hostile")


def _parts(watch: Watch) -> dict[str, str]:
    """A template that shows each tenant its own trick."""

    def chosen(part: str) -> str:
        return "".join(
            f"{{% if tenant.code == '{code}' %}}{{% raw %}}{_as_html(entry, watch)}{{% endraw %}}{{% endif %}}"
            for code, entry in TENANTS.items()
            if (entry["part"] == MAIL_HTML) == (part == MAIL_HTML)
        )

    return {
        MAIL_HTML: f"<!doctype html><html><body><p>{{{{ tenant.name }}}}</p>{chosen(MAIL_HTML)}</body></html>",
        MAIL_TEXT: "{{ tenant.name }}",
        INVOICE_HTML: f"<!doctype html><html><body><p>{{{{ invoice.number }}}}</p>{chosen(INVOICE_HTML)}</body></html>",
        INVOICE_CSS: "",
    }


def _as_html(entry: Entry, watch: Watch) -> str:
    # The database keeps no NUL, and the pages replace them.
    source = watch.place(entry["source"]).replace("\0", "\N{REPLACEMENT CHARACTER}")
    return f"<style>{source}</style><ul><li title='x'>x</li></ul>" if entry["part"] == INVOICE_CSS else source


def _send(db: Database, folder: Path) -> Mapping[str, EmailMessage]:
    """Run the month; what arrived, by its Message-ID."""
    run_id, batches = Agency(db).run()
    everything = Batch("all", tuple(id_ for batch in batches for id_ in batch.delivery_ids))
    archive = archive_in(folder / "archive")
    address = TaskAddress("monthly_invoicing", "run-1", "send_invoices", 0)
    worker = Worker(address, f"{address}/0", f"{address} try 1")
    with open_inbox() as (inbox, connect_relay):
        # What cannot be drawn, or may not be sent, costs its own tenant the mail.
        with suppress(PermanentFailureError, TemporaryFailureError):
            render.render_batch(db, archive, run_id, everything)
        with suppress(PermanentFailureError, TemporaryFailureError), connect_relay() as relay:
            deliver.send_batch(db, relay, archive, Journal(folder / "journal"), everything, worker)
        read = [
            email.message_from_bytes(each, EmailMessage, policy=email.policy.default)
            for each in inbox.messages
        ]
    return {str(message["message-id"]): message for message in read}


def _html(message: EmailMessage | None) -> str:
    body = None if message is None else message.get_body(("html",))
    return "" if body is None else str(body.get_content())


def _pdfs(message: EmailMessage | None) -> Sequence[bytes]:
    return [] if message is None else [part.get_content() for part in message.iter_attachments()]


def faults_of_html(html: str) -> list[str]:
    """What of a message would be loaded, would act, or leads where it must not; by a browser's own rules of parsing."""
    faults = []
    for element in tinyhtml5.parse(html, namespace_html_elements=False).iter():
        if not isinstance(element.tag, str):
            continue
        tag = element.tag.rpartition("}")[2].lower()
        if tag in ACTIVE_ELEMENTS and not _is_plain_meta(tag, element.attrib):
            faults.append(f"<{tag}>")
        for name, value in element.attrib.items():
            faults += _faults_of_attribute(
                tag, str(name).rpartition("}")[2].rpartition(":")[2].lower(), value
            )
        if tag == "style":
            faults += _faults_of_css(tinycss2.parse_stylesheet("".join(element.itertext())))
    return faults


def _is_plain_meta(tag: str, attributes: Mapping[str, str]) -> bool:
    return tag == "meta" and "http-equiv" not in {str(name).lower() for name in attributes}


def _faults_of_attribute(tag: str, name: str, value: str) -> list[str]:
    address = re.sub(r"[\x00-\x20]", "", value)
    if name.startswith("on"):
        return [name]
    if name == "style":
        return _faults_of_css(tinycss2.parse_blocks_contents(value))
    if name in LOADING_ATTRIBUTES:
        allowed = LINKS if (tag, name) in (("a", "href"), ("area", "href")) else INSIDE
        return [] if allowed.match(address) else [f"{name}={value[:60]}"]
    return []


def _faults_of_css(nodes: Sequence[Any]) -> list[str]:
    faults = []
    for node in nodes:
        match node.type:
            case "at-rule" if node.lower_at_keyword in ("import", "font-face"):
                faults.append(f"@{node.lower_at_keyword}")
            case "url" if not INSIDE.match(node.value):
                faults.append(f"url({node.value[:60]})")
            case "function" if node.lower_name in (
                "url",
                "src",
                "image-set",
                "-webkit-image-set",
                "image",
                "cross-fade",
            ):
                texts = [each.value for each in node.arguments if each.type in ("string", "url")]
                faults += [f"{node.lower_name}({text[:60]})" for text in texts if not INSIDE.match(text)]
        for inner in ("prelude", "content", "value", "arguments"):
            if isinstance(found := getattr(node, inner, None), list):
                faults += _faults_of_css(found)
    return faults


def faults_of_pdf(pdf: bytes) -> list[str]:
    """What a PDF carries, does, or leads to where it must not; the secret, in any of its streams."""
    faults: list[str] = []
    with pikepdf.open(io.BytesIO(pdf)) as document:
        if "/AcroForm" in document.Root:
            faults.append("/AcroForm")
        for found in document.objects:
            _look_into(found, faults)
            if isinstance(found, pikepdf.Stream):
                with suppress(pikepdf.PdfError):
                    if SECRET.encode() in found.read_bytes():
                        faults.append("the secret")
    return faults


def _look_into(found: Any, faults: list[str], depth: int = 0) -> None:
    if depth and getattr(found, "is_indirect", False):
        return
    if isinstance(found, pikepdf.Array):
        for each in found:
            _look_into(each, faults, depth + 1)
    if not isinstance(found, pikepdf.Dictionary | pikepdf.Stream):
        return
    names = set(found.keys())
    faults += sorted(names & {"/EF", "/EmbeddedFiles", "/JS", "/OpenAction", "/AA", "/RichMedia"})
    if str(found.get("/S", "")) in ACTIONS:
        faults.append(str(found["/S"]))
    if "/URI" in names and isinstance(found["/URI"], pikepdf.String) and not LINKS.match(str(found["/URI"])):
        faults.append(str(found["/URI"]))
    for name in names:
        _look_into(found[name], faults, depth + 1)


def test_there_are_forty_and_more():
    assert len(REFERENCES) >= 40


@pytest.mark.parametrize(("part", "entries"), [(INVOICE_HTML, OF_INVOICES), (MAIL_HTML, OF_MESSAGES)])
def test_no_check_of_a_template_calls_anybody_or_reads_a_file(
    part: str, entries: Sequence[Entry], watch: Watch
):
    together = "".join(f"<div>{_as_html(entry, watch)}</div>" for entry in entries)

    problems = validate({**SOUND, part: together}, limits=Limits(seconds=10))

    assert [each for each in problems if each.part == part and not each.is_warning]
    assert {each.code for each in problems} <= set(FAILURES)
    watch.assert_nothing_out(*(each.message for each in problems))


def test_every_tenant_got_a_message_or_the_ledger_says_why_not(month: Mapping[str, Arrived], watch: Watch):
    assert month.keys() == REFERENCES.keys()
    for name, arrived in month.items():
        assert bool(arrived.html) == (arrived.state == "sent"), name
        assert arrived.html or arrived.why, name
    watch.assert_nothing_out(*(arrived.html for arrived in month.values()))


def test_no_message_loads_runs_or_leads_astray(month: Mapping[str, Arrived]):
    faults = {name: faults_of_html(arrived.html) for name, arrived in month.items()}

    assert {name: found for name, found in faults.items() if found} == {}


def test_no_document_carries_runs_or_leads_astray(month: Mapping[str, Arrived]):
    faults = {
        name: [fault for pdf in arrived.pdfs for fault in faults_of_pdf(pdf)]
        for name, arrived in month.items()
    }

    assert {name: found for name, found in faults.items() if found} == {}


def test_a_browser_that_opens_the_messages_asks_for_nothing(month: Mapping[str, Arrived], watch: Watch):
    asked = {}
    with open_chromium() as browser:
        for entry in OF_MESSAGES:
            calls: list[str] = []
            page = browser.new_page()
            page.on("request", lambda request, calls=calls: calls.append(request.url))
            page.set_content(month[entry.name].html, wait_until="domcontentloaded")
            page.wait_for_timeout(20)
            page.close()
            asked[entry.name] = [url for url in calls if not url.startswith(("data:", "about:"))]

    assert {name: calls for name, calls in asked.items() if calls} == {}
    assert watch.listener.calls == []


def test_the_shipped_message_and_document_pass_the_same_examination():
    """Else the examination would prove nothing."""
    from invoicing.domain.settings import DEFAULT_SUBJECT
    from invoicing.rendering.invoice import InvoiceRenderer
    from invoicing.rendering.mail import render_mail
    from invoicing.rendering.sample import sample_invoice, sample_mail
    from invoicing.rendering.templates import load_shipped

    shipped = load_shipped()
    with InvoiceRenderer(shipped) as renderer:
        pdf = renderer.render(sample_invoice())
    assert faults_of_html(render_mail(shipped, DEFAULT_SUBJECT, sample_mail()).html) == []
    assert faults_of_pdf(pdf) == []
    assert faults_of_html("<p style='background: u\\72l(//x)'><img src=x>") == ["url(//x)", "src=x"]
