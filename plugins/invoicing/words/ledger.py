"""The ledger in words: reasons of decisions, states, verdicts of attempts."""

from collections.abc import Mapping

from invoicing.words import Text

REASONS: Mapping[str, Text] = {
    "sending_disabled": ("El envío automático está apagado", "Automatic sending is off"),
    "tenant_disabled": ("El tercero tiene el envío apagado", "The tenant's own switch is off"),
    "global_only_multiple": (
        "La agencia solo envía a quien tiene varias facturas",
        "The agency writes only to tenants with several invoices",
    ),
    "tenant_only_multiple": (
        "El tercero solo recibe si tiene varias facturas",
        "The tenant wants mail only for several invoices",
    ),
    "no_email": ("Sin dirección de correo", "No e-mail address"),
    "invalid_email": ("Dirección de correo no válida", "Invalid e-mail address"),
    "tenant_held": ("Retenido por una persona en este período", "Held by a person for this period"),
}

STATES: Mapping[str, Text] = {
    "pending": ("Por enviar", "To send"),
    "claimed": ("Tomado", "Claimed"),
    "transmitting": ("Transmitiendo", "Transmitting"),
    "sent": ("Enviado", "Sent"),
    "failed": ("Fallido", "Failed"),
    "in_doubt": ("En duda", "In doubt"),
    "held": ("Retenido", "Held"),
    "cancelled": ("Cancelado", "Cancelled"),
    "open": ("Abierto", "Open"),
    "closed": ("Cerrado", "Closed"),
    "running": ("En curso", "Running"),
    "success": ("Terminado", "Finished"),
    "issued": ("Emitida", "Issued"),
    "void": ("Anulada", "Void"),
    "partly_credited": ("Acreditada en parte", "Partly credited"),
    "credited": ("Acreditada", "Credited"),
}

APPROVALS: Mapping[str, Text] = {
    "waiting": ("Espera aprobación", "Waits for approval"),
    "approved": ("Aprobado", "Approved"),
    "rejected": ("Rechazado", "Rejected"),
    "overtaken": ("Cambió mientras esperaba", "Changed while it waited"),
}
"""What became of a question."""

WHY_ASKED: Mapping[str, Text] = {
    "always": ("Se aprueba cada mes.", "Every month is approved."),
    "first_month": (
        "Es el primer mes: no hay con qué comparar.",
        "It is the first month: there is nothing to compare with.",
    ),
    "total": ("El total cambió más de lo permitido.", "The total changed by more than the setting allows."),
    "recipients": (
        "El número de terceros con correo cambió más de lo permitido.",
        "The number of tenants who get mail changed by more than the setting allows.",
    ),
    "invoice": (
        "Alguna factura cambió más de lo permitido.",
        "Some invoice changed by more than the setting allows.",
    ),
}
"""Why a person is asked."""

LEFT_ALONE: Mapping[str, Text] = {
    **REASONS,
    "in_doubt": ("En duda: lo resuelve una persona", "In doubt: a person settles it"),
    "held": ("Apartado: se envía por su nombre", "Set aside: send it by name"),
    "cancelled": ("Lo canceló una persona", "A person cancelled it"),
    "given_up": ("Una persona lo dio por fallido", "A person settled it as failed"),
    "under_way": ("Está en camino", "It is on its way"),
    "nothing_stands": ("Nada de lo que lleva sigue en pie", "Nothing that it carries stands any more"),
}
"""Why a delivery that is unsent is not retried with the others."""

VERDICTS: Mapping[str, Text] = {
    "accepted": ("Aceptado", "Accepted"),
    "refused_temporarily": ("Rechazado por ahora", "Refused for now"),
    "refused_permanently": ("Rechazado", "Refused"),
    "not_sent": ("No salió", "Not sent"),
    "in_doubt": ("En duda", "In doubt"),
}

TRIALS: Mapping[str, Text] = {
    "accepted": ("Aceptado", "Accepted"),
    "refused": ("Rechazado", "Refused"),
    "not_sent": ("No salió", "Not sent"),
    "unknown": ("No se sabe", "Unknown"),
}
"""What became of test messages."""

CHANGES: Mapping[str, Text] = {
    "new": ("Contrato nuevo", "New lease"),
    "ended": ("Contrato terminado", "Ended lease"),
    "amount": ("Otro valor", "Another amount"),
    "decision": ("Otra decisión", "Another decision"),
}

PHASES: Mapping[str, Text] = {
    "invoices": ("Facturas", "Invoices"),
    "decisions": ("Decisiones", "Decisions"),
    "documents": ("PDF", "PDFs"),
    "approval": ("Aprobación", "Approval"),
    "sending": ("Envío", "Sending"),
}
"""The steps of a run."""

PHASE_STATES: Mapping[str, Text] = {
    "done": ("hecho", "done"),
    "now": ("en curso", "under way"),
    "next": ("después", "next"),
    "skipped": ("no hizo falta", "not needed"),
}

STARTERS: Mapping[str, Text] = {
    "schedule": ("el calendario", "the schedule"),
    "backfill": ("un relleno de meses (backfill)", "a backfill"),
    "airflow": ("una persona en Airflow", "a person in Airflow"),
    "command": ("la línea de comandos", "the command line"),
    "asset": ("un pedido de envío", "a request to send"),
}
"""Who started a run, where no person is named."""
