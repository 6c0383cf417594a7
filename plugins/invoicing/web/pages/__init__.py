"""The pages, a module each."""

from invoicing.web.pages import (
    approvals,
    automation,
    cycles,
    deliveries,
    foresight,
    holds,
    invoices,
    leases,
    new_tenant,
    runs,
    single_invoice,
    template_editor,
    template_preview,
    template_trial,
    templates,
    tenants,
)

ROUTERS = (
    automation.router,
    cycles.router,
    deliveries.router,
    approvals.router,
    foresight.router,
    holds.router,
    invoices.router,
    leases.router,
    new_tenant.router,
    single_invoice.router,
    runs.router,
    templates.router,
    template_editor.router,
    template_preview.router,
    template_trial.router,
    tenants.router,
)
