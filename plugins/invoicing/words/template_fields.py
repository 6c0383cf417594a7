"""A template's fields in words: what they are called, and what the placeholders stand for."""

from collections.abc import Mapping

from invoicing.words import Text

LABELS: Mapping[str, Text] = {
    "greeting": ("Saludo", "Greeting"),
    "opening": ("Apertura, con una factura", "Opening, with one invoice"),
    "opening_several": ("Apertura, con varias facturas", "Opening, with several invoices"),
    "payment_note": ("Nota sobre el pago", "Payment note"),
    "closing": ("Despedida", "Closing"),
    "invoice_note": ("Nota en la factura (PDF)", "Note on the invoice (PDF)"),
    "colour": ("Color", "Colour"),
    "logo": ("Logotipo de esta plantilla", "This template’s logo"),
}

LANGUAGES: Mapping[str, Text] = {"es": ("Español", "Spanish"), "en": ("Inglés", "English")}

PLACEHOLDERS: Mapping[str, Text] = {
    "tenant": ("tercero", "tenant"),
    "agency": ("agencia", "agency"),
    "month": ("mes", "month"),
    "count": ("n.º de facturas", "number of invoices"),
    "number": ("n.º de la factura", "invoice number"),
    "total": ("total", "total"),
    "due": ("vencimiento", "due date"),
    "common_due": ("vencimiento, si es el mismo", "due date, if it is the same"),
    "first_due": ("primer vencimiento, si difieren", "first due date, if they differ"),
}


def problem_labels() -> dict[str, Text]:
    """What a problem's place is called: a field, or a sentence with its language (``greeting.es``)."""
    labels = dict(LABELS)
    for name, (es, en) in LABELS.items():
        for language, (es_language, en_language) in LANGUAGES.items():
            labels[f"{name}.{language}"] = (f"{es}, {es_language.lower()}", f"{en}, {en_language}")
    return labels
