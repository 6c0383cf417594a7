"""The parts of a template, by name."""

MAIL_HTML, MAIL_TEXT, INVOICE_HTML, INVOICE_CSS = PARTS = (
    "mail.html",
    "mail.txt",
    "invoice.html",
    "invoice.css",
)
# Of what corrects an invoice; every template has the same ones, in its own colour.
CREDIT_NOTE_HTML, CORRECTION_HTML, CORRECTION_TEXT, VOID_HTML = VARIATIONS = (
    "credit_note.html",
    "mail.html",
    "mail.txt",
    "void.html",
)
# How problems of the settings' subject line name it, beside the parts.
SUBJECT = "subject"
