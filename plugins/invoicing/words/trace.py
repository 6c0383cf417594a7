"""A decision's trace in words: what each rule looked at, whether it objects or not."""

from collections.abc import Mapping

from invoicing.words import Text

NO_MAIL: Text = (" → sin correo", " → no mail")
"""After what an objecting rule says."""

NO_OBJECTION: Text = ("Ninguna regla se opone → se le envía", "No rule objects → mail is sent")

RULES: Mapping[str, Mapping[str, Text]] = {
    "sending_disabled": {
        "objects": (
            "Regla global: el envío automático está apagado",
            "Global rule: automatic sending is off",
        ),
        "agrees": (
            "Regla global: el envío automático está habilitado",
            "Global rule: automatic sending is on",
        ),
    },
    "tenant_disabled": {
        "objects": (
            "Regla del arrendatario: tiene el envío automático apagado",
            "Tenant’s rule: automatic sending is off",
        ),
        "agrees": (
            "Regla del arrendatario: tiene el envío automático habilitado",
            "Tenant’s rule: automatic sending is on",
        ),
    },
    "global_only_multiple": {
        "everybody": ("Regla global: todos los que tienen facturas", "Global rule: everybody with invoices"),
        "one": (
            "Regla global: solo múltiples. Este arrendatario tiene 1 factura",
            "Global rule: only multiple. This tenant has 1 invoice",
        ),
        "several": (
            "Regla global: solo múltiples. Este arrendatario tiene {count} facturas",
            "Global rule: only multiple. This tenant has {count} invoices",
        ),
    },
    "tenant_only_multiple": {
        "everybody": (
            "Regla del arrendatario: cualquier número de facturas",
            "Tenant’s rule: any number of invoices",
        ),
        "one": (
            "Regla del arrendatario: solo múltiples. Tiene 1 factura",
            "Tenant’s rule: only multiple. There is 1 invoice",
        ),
        "several": (
            "Regla del arrendatario: solo múltiples. Tiene {count} facturas",
            "Tenant’s rule: only multiple. There are {count} invoices",
        ),
    },
    "no_email": {
        "objects": ("No tiene dirección de correo", "There is no e-mail address"),
        "one": ("Tiene 1 dirección de correo", "There is 1 e-mail address"),
        "several": ("Tiene {count} direcciones de correo", "There are {count} e-mail addresses"),
    },
    "invalid_email": {
        "objects": ("Dirección no válida: {addresses}", "Invalid address: {addresses_and_why}"),
        "agrees": ("Todas las direcciones son válidas", "All addresses are valid"),
    },
    "tenant_held": {
        "objects": ("Una persona lo retiene en este período", "A person holds it for this period"),
        "agrees": ("Nadie lo retiene en este período", "Nobody holds it for this period"),
    },
}
"""Rule, then case, to what is said; which case it is, and its numbers, come from the trace."""
