"""The parts of a template, by name."""

MAIL_HTML, MAIL_TEXT, INVOICE_HTML, INVOICE_CSS = PARTS = (
    "mail.html",
    "mail.txt",
    "invoice.html",
    "invoice.css",
)
# How problems of the settings' subject line name it, beside the parts.
SUBJECT = "subject"
