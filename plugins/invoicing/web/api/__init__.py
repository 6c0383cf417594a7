"""The JSON API, a module per noun: thin, over the services that the pages and the command line use."""

from invoicing.web.api import (
    cycles,
    deliveries,
    foresight,
    invoices,
    leases,
    openapi,
    problems,
    settings,
    templates,
    tenants,
)

ROUTERS = (
    settings.router,
    tenants.router,
    leases.router,
    cycles.router,
    foresight.router,
    invoices.router,
    deliveries.router,
    templates.router,
    problems.router,
    openapi.router,
)
