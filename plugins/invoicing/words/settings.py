"""The settings in words: what they are called, and what can be chosen."""

from collections.abc import Mapping

from invoicing.words import Text

LABELS: Mapping[str, Text] = {
    "auto_send": ("Habilitar envío automático", "Enable automatic sending"),
    "subject": ("Asunto", "Subject"),
    "template": ("Plantilla", "Template"),
    "recipients": ("Destinatarios", "Recipients"),
    "grouping": ("Agrupación", "Grouping"),
    "due_days": ("Días para el vencimiento", "Days until due"),
    "invoice_prefix": ("Prefijo de las facturas", "Invoice prefix"),
    "credit_prefix": ("Prefijo de las notas crédito", "Credit note prefix"),
    "agency_name": ("Nombre de la agencia", "Agency's name"),
    "agency_nit": ("NIT", "Tax number (NIT)"),
    "agency_address": ("Dirección", "Address"),
    "agency_city": ("Ciudad", "City"),
    "agency_phone": ("Teléfono", "Phone"),
    "agency_email": ("Correo de la agencia", "Agency's e-mail"),
    "agency_logo": ("Logotipo", "Logo"),
    "payment_instructions": ("Instrucciones de pago", "Payment instructions"),
    "from_email": ("Dirección del remitente", "Sender's address"),
    "from_name": ("Nombre del remitente", "Sender's name"),
    "reply_to": ("Responder a", "Reply to"),
    "per_minute_limit": ("Límite por minuto", "Limit per minute"),
    "messages_per_connection": ("Mensajes por conexión", "Messages per connection"),
    "largest_batch": ("Mensajes por tarea", "Messages per task"),
    "unmailed_documents": (
        "Hacer también los PDF que no se envían por correo",
        "Make the PDFs that are not mailed too",
    ),
    "approval": ("Aprobar antes de enviar", "Approve before sending"),
    "approval_change_percent": ("Cambio que se pregunta", "Change that is asked about"),
    "approval_reminder_hours": ("Recordar después de", "Remind after"),
    "approval_deadline_hours": ("Avisar del plazo después de", "Tell of the deadline after"),
    "doubt_policy": ("Si no se sabe si un envío llegó", "When it is unknown whether a delivery arrived"),
    "doubt_minutes": ("Minutos en duda antes de reenviar", "Minutes in doubt before sending again"),
    "operator_email": ("Avisar de fallas a", "Tell about failures"),
    "test_domains": ("Dominios para mensajes de prueba", "Domains for test messages"),
}

VALUES: Mapping[str, Mapping[str, Text]] = {
    "recipients": {
        "all": ("Todos los terceros con facturas", "All tenants with invoices"),
        "multiple_only": ("Solo los que tienen más de una factura", "Only those with more than one invoice"),
    },
    "grouping": {
        "per_tenant": ("Un mensaje por tercero", "One message a tenant"),
        "per_invoice": ("Un mensaje por factura", "One message an invoice"),
    },
    "approval": {
        "never": ("Nunca: sale apenas está listo", "Never: it leaves once it is ready"),
        "always": ("Siempre", "Always"),
        "changed": (
            "Solo si algo cambió mucho desde el mes anterior",
            "Only if something changed much since the month before",
        ),
    },
    "doubt_policy": {
        "hold": (
            "Queda en duda hasta que alguien lo resuelva",
            "It stays in doubt until somebody settles it",
        ),
        "resend_after": ("Se envía otra vez después de un tiempo", "It is sent again after a while"),
    },
}
