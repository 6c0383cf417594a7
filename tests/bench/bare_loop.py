"""The least that a month's mail costs: a loop that renders, composes and sends, without a database and without Airflow.

    python tests/bench/bare_loop.py JOB        JOB: a pickled `Job`; run by ``bench_month.py``, a process a core

Says ``ready`` once all is imported, begins when it is told to, and says ``done``.
"""

import argparse
import email.utils
import gc
import json
import pickle
import smtplib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from invoicing.mail.message import Attachment, Mailbox, OutgoingMail, build
from invoicing.rendering.assignment import LARGEST_MAIL_BYTES, Limits
from invoicing.rendering.document import InvoiceDocument, MailDocument
from invoicing.rendering.mail_typesetting import MailTypesetter
from invoicing.rendering.templates import (
    INVOICE_CSS,
    INVOICE_HTML,
    Part,
    Template,
    environment,
    invoice_variables,
)
from invoicing.rendering.worker import DOCUMENTS_BETWEEN_COLLECTIONS

SENDER = "facturas@agencia.example"


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of the month."""

    to: str
    mail: MailDocument
    invoices: tuple[InvoiceDocument, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does.

    Args:
        renderer: ``ours`` as the rendering process does it, or ``stock``: WeasyPrint as its documentation calls it.
    """

    renderer: Literal["ours", "stock"]
    template: Template
    subject: str
    smtp_port: int
    letters: tuple[Letter, ...]


def ours(template: Template) -> Callable[[InvoiceDocument], bytes]:
    """As the rendering process does it, its garbage collector apart."""
    from invoicing.rendering.typesetting import Typesetter

    typesetter = Typesetter(template, Limits().output_bytes)
    made = 0
    gc.disable()

    def render(invoice: InvoiceDocument) -> bytes:
        nonlocal made
        made += 1
        if made % DOCUMENTS_BETWEEN_COLLECTIONS == 0:
            gc.collect()
        return typesetter.typeset(invoice)

    return render


def stock(template: Template) -> Callable[[InvoiceDocument], bytes]:
    """The same template with nothing but WeasyPrint's own call."""
    import weasyprint

    part = Part(environment(), INVOICE_HTML, template.parts[INVOICE_HTML])
    style = f"<style>{template.parts[INVOICE_CSS]}</style></head>"

    def render(invoice: InvoiceDocument) -> bytes:
        html = part.render(invoice_variables(invoice, template.fields)).replace("</head>", style)
        pdf: bytes = weasyprint.HTML(string=html).write_pdf()
        return pdf

    return render


def work(job: Job, render: Callable[[InvoiceDocument], bytes], mail: MailTypesetter) -> None:
    """Send every letter over one kept connection."""
    with smtplib.SMTP("127.0.0.1", job.smtp_port) as connection:
        for letter in job.letters:
            pdfs = [Attachment(f"{each.number}.pdf", render(each)) for each in letter.invoices]
            made = json.loads(mail.typeset(letter.mail))
            message = build(
                OutgoingMail(
                    message_id=email.utils.make_msgid(domain="agencia.example"),
                    date=datetime.now(UTC),
                    sender=Mailbox("Agencia", SENDER),
                    reply_to="",
                    to=(letter.to,),
                    cc=(),
                    subject=made["subject"],
                    text=made["text"],
                    html=made["html"],
                    attachments=tuple(pdfs),
                    delivery_id="bench",
                )
            )
            connection.sendmail(SENDER, [letter.to], message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("job", type=Path)
    job: Job = pickle.loads(parser.parse_args().job.read_bytes())
    render = {"ours": ours, "stock": stock}[job.renderer](job.template)
    mail = MailTypesetter(job.template, job.subject, LARGEST_MAIL_BYTES)
    render(job.letters[0].invoices[0])
    print("ready", flush=True)
    sys.stdin.readline()
    work(job, render, mail)
    print("done", flush=True)


if __name__ == "__main__":
    # A pickle of a module that was run names it as imported.
    sys.modules["bare_loop"] = sys.modules["__main__"]
    main()
