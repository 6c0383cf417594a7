"""A test message, asked for on a template's page or by a program: the same steps, no connection held between them."""

from collections.abc import Callable

from fastapi import Request

from invoicing.db.connection import Database, OpenDatabase
from invoicing.mail.transmission import Outcome
from invoicing.rendering.templates import Template
from invoicing.services.agency import settings as settings_service
from invoicing.services.delivery import documents, trial
from invoicing.services.delivery.trial import Sender, Trial
from invoicing.services.views import preview
from invoicing.web.door.duties import Duty
from invoicing.web.door.visitor import Visitor
from invoicing.web.outside import Outside


def send_trial(
    request: Request,
    open_database: OpenDatabase,
    visitor: Visitor,
    draft: Template,
    template_version_id: int,
    tenant: str,
    gather: Callable[[Database], preview.Documents],
    to: str,
) -> Outcome:
    """Send what ``draft`` makes of some documents to one address.

    Args:
        template_version_id: The version that ``draft`` was typed over.
        tenant: Whose documents; empty for sample ones. A real tenant's take the duty to read personal data.
        gather: Collects the documents.

    Raises:
        MissingDutyError: They are not the visitor's to see.
        InputError, LimitReachedError, RenderFailedError, UnsafeMessageError, RelayUnavailableError: It was not sent.
    """
    if tenant:
        visitor.require(Duty.READ_PERSONAL)
    outside: Outside = request.app.state.outside
    by = Sender(visitor.id, visitor.actor, visitor.email)
    with open_database() as db:
        settings = settings_service.current_settings(db).settings
        order = Trial(draft, template_version_id, to, by, settings)
        # Asked again when it is written down; here, so that nothing is rendered for nothing.
        trial.check_recipient(order)
        trial.check_room(db, by)
        shown = gather(db)
    content = preview.render_mail(draft, shown)
    pdfs = preview.render_invoices(draft, shown.invoices)
    names = [documents.filename(each.number) for each in shown.invoices]
    return trial.send_trial(
        open_database,
        outside.open_relay,
        order,
        content,
        dict(zip(names, pdfs, strict=True)),
        sender=outside.relay_sender(),
    )
