"""An approval is of just what was asked: each single change of what would leave undoes it, and nothing else does."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from invoicing.domain.errors import InputError
from invoicing.domain.settings import Settings
from invoicing.services.agency import templates
from invoicing.services.agency.settings import current_settings
from invoicing.services.delivery import approvals, holds, resolution
from invoicing.services.delivery.send_now import send_now
from support.agency import NOVEMBER, Agency
from support.random_acts import Act, Acts, some_acts
from support.random_agency import MONTH, RandomAgency, RandomMonth

WHO: dict[str, Any] = {"reason": "looked at it", "actor": "ana", "via": "page"}
Change = Callable[[Agency, str], Any]


def fingerprint(agency: Agency) -> str:
    """Of what is asked now; empty where nothing is. Undone afterwards."""
    with agency.db.transaction(force_rollback=True):
        asked = look(agency).asked
        return "" if asked is None else asked.fingerprint


def look(agency: Agency) -> approvals.Verdict:
    """November's newest run looks whether it may send."""
    row = agency.db.execute(
        "SELECT max(r.id) AS id FROM invoicing.cycle_run AS r"
        " JOIN invoicing.billing_cycle AS c ON c.id = r.cycle_id WHERE c.period = %s",
        [str(NOVEMBER)],
    ).fetchone()
    assert row is not None
    return approvals.look(agency.db, row["id"])


def about_to_leave(agency: Agency) -> list[dict[str, Any]]:
    """What November's run is about to send: whose it is, an invoice of it, and one that has no document yet."""
    return agency.db.execute(
        "SELECT d.id, t.code, c.invoice_count, t.only_multiple, min(di.invoice_id) AS invoice,"
        " min(di.invoice_id) FILTER (WHERE f.invoice_id IS NULL) AS undocumented"
        " FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id"
        " JOIN invoicing.decision AS c ON c.cycle_id = d.cycle_id AND c.tenant_id = t.id AND c.superseded_at IS NULL"
        " JOIN invoicing.delivery_invoice AS di ON di.delivery_id = d.id"
        " LEFT JOIN invoicing.invoice_document AS f ON f.invoice_id = di.invoice_id"
        " WHERE d.state = 'pending' AND d.purpose = 'initial' AND NOT d.on_request AND d.period = %s"
        " GROUP BY d.id, t.code, c.invoice_count, t.only_multiple ORDER BY d.id",
        [str(NOVEMBER)],
    ).fetchall()


def own(agency: Agency, code: str) -> list[dict[str, Any]]:
    return [row for row in about_to_leave(agency) if row["code"] == code]


def one_document(agency: Agency, code: str) -> None:
    for row in own(agency, code):
        agency.db.execute(
            "INSERT INTO invoicing.invoice_document (invoice_id, key, sha256, size_bytes, template_version_id)"
            " SELECT i.id, i.number, encode(sha256(i.number::bytea), 'hex'), 1, max(v.id)"
            " FROM invoicing.invoice AS i CROSS JOIN invoicing.template_version AS v WHERE i.id = %s GROUP BY i.id",
            [row["undocumented"]],
        )


def one_void(agency: Agency, code: str) -> None:
    for row in own(agency, code)[:1]:
        agency.db.execute("UPDATE invoicing.invoice SET state = 'void' WHERE id = %s", [row["invoice"]])


def withdraw(agency: Agency, code: str) -> None:
    resolution.cancel(agency.db, [row["id"] for row in own(agency, code)][:1], reason="x", actor="x")


def send_by_name(agency: Agency, code: str) -> None:
    agency.db.execute("UPDATE invoicing.cycle_run SET state = 'failed'")
    send_now(agency.db, NOVEMBER, [code], actor="x")


def hold(agency: Agency, code: str) -> None:
    holds.hold(agency.db, code, NOVEMBER, reason="x", actor="x")


def hold_and_release(agency: Agency, code: str) -> None:
    """What was set aside stays so until it is sent by name, or a run takes it up, which asks."""
    hold(agency, code)
    holds.release(agency.db, code, NOVEMBER, reason="x", actor="x")


def stop(agency: Agency, _: str) -> None:
    holds.stop_month(agency.db, NOVEMBER, reason="x", actor="x")


def new_template(agency: Agency, _: str) -> None:
    current = templates.current_template(agency.db, "default")
    templates.add_version(agency.db, "default", current.template, actor="x")


# Of one tenant: what changes something exactly where a message of theirs is about to leave.
OF_A_TENANT: dict[str, Change] = {
    "address": lambda agency, code: agency.db.execute(
        "UPDATE invoicing.tenant SET emails = emails || 'x@y.example'::text WHERE code = %s", [code]
    ),
    "copy": lambda agency, code: agency.db.execute(
        "UPDATE invoicing.tenant SET cc_emails = cc_emails || 'x@y.example'::text WHERE code = %s", [code]
    ),
    "addresses in another order": lambda agency, code: agency.change_tenant(
        code, emails=["c@d.example", "a@b.example"]
    ),
    "no address": lambda agency, code: agency.change_tenant(code, emails=[]),
    "language": lambda agency, code: agency.change_tenant(code, language="en"),
    "switch": lambda agency, code: agency.change_tenant(code, auto_send=False),
    "only with several": lambda agency, code: agency.change_tenant(code, only_multiple=True),
    "invoice": one_void,
    "document": one_document,
    "withdrawn": withdraw,
    "hold": hold,
    "hold and release": hold_and_release,
    "sent by name": send_by_name,
}
# Of all: what changes something wherever anything is about to leave.
OTHER_SETTINGS: dict[str, Any] = {
    "auto_send": False,
    "subject": "Otra",
    "recipients": "multiple_only",
    "grouping": "per_invoice",
    "due_days": 9,
    "invoice_prefix": "X-",
    "credit_prefix": "XC-",
    "payment_instructions": "En efectivo",
    "from_email": "otra@agencia.example",
    "reply_to": "otra@agencia.example",
    "agency_email": "otra@agencia.example",
    "operator_email": "otra@agencia.example",
    "per_minute_limit": 9,
    "messages_per_connection": 9,
    "largest_batch": 9,
    "unmailed_documents": False,
    "approval": "changed",
    "approval_change_percent": 9,
    "approval_reminder_hours": 9,
    "approval_deadline_hours": 9,
    "doubt_policy": "resend_after",
    "doubt_minutes": 9,
    "test_domains": "agencia.example",
    **dict.fromkeys(
        ("agency_name", "agency_nit", "agency_address", "agency_city", "agency_phone", "from_name"), "Otra"
    ),
}
# A template is chosen among those that there are, and a logo is drawn first: both are of the version, like the others.
NOT_TRIED = {"template", "agency_logo"}
OF_ALL: dict[str, Change] = {
    "template": new_template,
    "stop": stop,
    **{
        f"setting {name}": lambda agency, _, name=name, value=value: agency.set(**{name: value})  # type: ignore[misc]
        for name, value in OTHER_SETTINGS.items()
    },
}
# What is no part of any message, and leaves every decision as it is.
OF_NOTHING: dict[str, Change] = {
    "who they are": lambda agency, code: agency.change_tenant(
        code, name="Otro Nombre", city="Cali", document_number="2", withholding_agent=True
    ),
    "the rent": lambda agency, _: agency.db.execute("UPDATE invoicing.lease SET rent = rent + 1"),
    "a tenant more": lambda agency, _: agency.add_tenant(f"NEW-{agency.runs}", leases=0),
    "a lease that begins later": lambda agency, code: agency.add_lease(
        f"LATER-{code}-{agency.runs}", code, start="2030-01-01"
    ),
    "a template that is not used": lambda agency, _: templates.add_version(
        agency.db, "other", templates.current_template(agency.db, "default").template, actor="x"
    ),
    "the same settings": lambda agency, _: agency.set(from_email="facturas@agencia.example"),
    "the month run again": lambda agency, _: agency.run(),
    "another month": lambda agency, _: agency.run(NOVEMBER.following),
    "another month's hold": lambda agency, code: holds.hold(
        agency.db, code, NOVEMBER.following, reason=f"{agency.runs}", actor="x"
    ),
}


CHANGES = {**OF_A_TENANT, **OF_ALL, **OF_NOTHING}


def test_every_setting_is_tried() -> None:
    assert OTHER_SETTINGS.keys() | NOT_TRIED == Settings.model_fields.keys()


def concerns(agency: Agency, change: str, code: str) -> bool:
    """Whether ``change``, if it can be made, is one of what is about to leave."""
    leaving = about_to_leave(agency)
    mine = [row for row in leaving if row["code"] == code]
    if change in OF_NOTHING or not leaving:
        return False
    if change.startswith("setting "):
        name = change.removeprefix("setting ")
        return getattr(current_settings(agency.db).settings, name) != OTHER_SETTINGS[name]
    if change in OF_ALL:
        return True
    if change == "only with several":
        return any(row["invoice_count"] < 2 for row in mine)
    if change == "document":
        return any(row["undocumented"] for row in mine)
    return bool(mine)


def make(agency: Agency, change: str, code: str) -> bool:
    """Make it; whether it was not refused."""
    try:
        with agency.db.transaction():
            CHANGES[change](agency, code)
    except (InputError, psycopg.errors.UniqueViolation):
        return False
    return True


def change_and_answer(
    agency: Agency, month: RandomMonth, acts: list[Act], quiet: list[str], change: str, code: str
) -> None:
    """A month that waits, things that are no part of it, and one change; then somebody approves what they saw."""
    # Undone in the end, so that the next example begins where this one did.
    with agency.db.transaction(force_rollback=True):
        random = RandomAgency(agency)
        random.add_taxes()
        random.become(month)
        agency.set(approval="always")
        for act in acts:
            Acts(agency).do(act)
        agency.run()
        before = fingerprint(agency)
        # A run comes first: afterwards it would bill what is different meanwhile.
        for each in sorted(quiet, key="the month run again".__ne__):
            make(agency, each, code)
        assert fingerprint(agency) == before
        is_asked = look(agency).state == "wait"
        is_concerned = concerns(agency, change, code)
        event(f"asked: {is_asked}, concerned: {is_concerned}")
        is_concerned &= make(agency, change, code)
        if not is_asked:
            return

        assert (fingerprint(agency) != before) == is_concerned
        answered = approvals.answer(agency.db, NOVEMBER, "approved", **WHO)

        assert answered.is_counted == (not is_concerned)
        assert answered.state == ("overtaken" if is_concerned else "approved")


EXAMPLES: dict[str, Any] = {
    "month": MONTH,
    "acts": some_acts(8),
    "quiet": st.lists(st.sampled_from(sorted(OF_NOTHING)), max_size=3),
    "change": st.sampled_from(sorted(CHANGES)),
    "code": st.sampled_from(["T0", "T1", "T2", "T3"]),
}
UNHURRIED: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.explicit, Phase.reuse, Phase.generate),
}


@settings(max_examples=12, **UNHURRIED)
@given(**EXAMPLES)
def test_the_fingerprint_is_equal_exactly_where_nothing_changed(
    agency: Agency, month: RandomMonth, acts: list[Act], quiet: list[str], change: str, code: str
) -> None:
    change_and_answer(agency, month, acts, quiet, change, code)


@pytest.mark.long
@pytest.mark.timeout(900)
@settings(max_examples=400, **UNHURRIED)
@given(**EXAMPLES)
def test_the_fingerprint_is_equal_exactly_where_nothing_changed_at_length(
    agency: Agency, month: RandomMonth, acts: list[Act], quiet: list[str], change: str, code: str
) -> None:
    change_and_answer(agency, month, acts, quiet, change, code)


@pytest.mark.parametrize("change", sorted({**OF_A_TENANT, **OF_ALL}))
@pytest.mark.one_in(2)
def test_each_change_undoes_an_approval(agency: Agency, change: str) -> None:
    agency.set(from_email="facturas@agencia.example", approval="always")
    agency.add_tenant("A", leases=1)
    agency.add_tenant("B", leases=2)
    agency.run()
    assert look(agency).state == "wait"
    before = fingerprint(agency)
    assert concerns(agency, change, "A")
    assert make(agency, change, "A")

    assert fingerprint(agency) != before
    assert approvals.answer(agency.db, NOVEMBER, "approved", **WHO).state == "overtaken"
