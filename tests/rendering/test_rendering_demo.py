"""The demo agency: what its month shows, and what its documents look like."""

import csv
import datetime
import json
import subprocess
from collections import Counter
from decimal import Decimal
from functools import cache

import pytest

from invoicing.domain.eligibility import decide
from invoicing.domain.invoice import InvoiceDraft, draft_lease_invoice
from invoicing.domain.lease import Charge, Lease, Tenant
from invoicing.domain.period import Period
from invoicing.domain.settings import Settings
from invoicing.domain.taxes import TaxRate, TaxTable
from invoicing.rendering.document import Agency, InvoiceDocument, Line, Party, Withholding
from invoicing.rendering.invoice import InvoiceRenderer
from invoicing.rendering.templates import load_shipped
from support.project import DEMO

NOVEMBER = Period(2026, 11)


@cache
def rows(name: str) -> list[dict[str, str]]:
    with (DEMO / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def day(text: str) -> datetime.date | None:
    return datetime.date.fromisoformat(text) if text else None


def month(text: str) -> Period | None:
    return Period.parse(text) if text else None


def tenants() -> dict[str, Tenant]:
    return {
        row["tenant_code"]: Tenant(
            code=row["tenant_code"],
            name=row["name"],
            emails=tuple(row["emails"].split(";")) if row["emails"] else (),
            cc_emails=tuple(row["cc_emails"].split(";")) if row["cc_emails"] else (),
            language="en" if row["language"] == "en" else "es",
            withholding_agent=row["withholding_agent"] == "yes",
            auto_send=row["auto_send"] == "yes",
            only_multiple=row["only_multiple"] == "yes",
        )
        for row in rows("tenants")
    }


def drafts(period: Period) -> list[tuple[dict[str, str], InvoiceDraft]]:
    charges: dict[str, list[Charge]] = {}
    for row in rows("charges"):
        charges.setdefault(row["lease_code"], []).append(
            Charge(
                row["concept"],
                row["description"],
                Decimal(row["amount"]),
                "iva" if row["tax"] == "iva" else "none",
                row["prorated"] == "yes",
                month(row["from_period"]),
                month(row["to_period"]),
            )
        )
    rates = [
        TaxRate(
            row["tax"],  # type: ignore[arg-type]
            row["city"],
            Decimal(row["rate"]),
            Decimal(row["minimum_base"]),
            datetime.date.fromisoformat(row["valid_from"]),
            day(row["valid_to"]),
        )
        for row in rows("tax_rates")
    ]
    drafted = []
    for row in rows("leases"):
        lease = Lease(
            row["lease_code"],
            row["property"],
            row["city"],
            "commercial" if row["use"] == "commercial" else "residential",
            datetime.date.fromisoformat(row["start_date"]),
            day(row["end_date"]),
            Decimal(row["rent"]),
            row["currency"],
            tenants()[row["tenant_code"]].withholding_agent,
            tuple(charges.get(row["lease_code"], ())),
        )
        draft = draft_lease_invoice(lease, period, TaxTable(rates, period.first_day))
        if draft is not None:
            drafted.append((row, draft))
    return drafted


def test_its_settings_are_valid_and_send() -> None:
    settings = Settings().changed(json.loads((DEMO / "settings.json").read_text(encoding="utf-8")))

    assert settings.auto_send
    assert settings.from_email.endswith(".example")


@pytest.mark.parametrize("period", [NOVEMBER, Period(2026, 12)], ids=str)
def test_its_month_shows_every_reason_and_every_number_of_invoices(period: Period) -> None:
    settings = Settings().changed(json.loads((DEMO / "settings.json").read_text(encoding="utf-8")))
    counts = Counter(row["tenant_code"] for row, _ in drafts(period))
    decisions = Counter(
        decide(tenants()[code], count, settings.policy).reason or "send" for code, count in counts.items()
    )

    assert len(tenants()) >= 55
    assert decisions["send"] > 40
    assert set(decisions) == {"send", "tenant_disabled", "tenant_only_multiple", "no_email", "invalid_email"}
    assert all(number >= 2 for number in decisions.values())
    assert {1, 2, 3} == set(counts.values())
    assert any(tenants()[code].only_multiple for code, count in counts.items() if count == 2)
    assert len(counts) < len(tenants()), "one tenant's lease has ended"


def test_its_month_shows_taxes_withholdings_part_months_and_discounts() -> None:
    drafted = [draft for _, draft in drafts(NOVEMBER)]

    assert all(draft.total > 0 for draft in drafted)
    assert {kept.tax for draft in drafted for kept in draft.withholdings} == {
        "retefuente",
        "reteiva",
        "reteica",
    }
    assert sum(1 for draft in drafted if draft.lines[0].active is not None) >= 4
    assert any(line.amount < 0 for draft in drafted for line in draft.lines)
    assert {tenant.language for tenant in tenants().values()} == {"es", "en"}
    assert any(tenant.cc_emails for tenant in tenants().values())
    assert any(not address.isascii() for tenant in tenants().values() for address in tenant.emails)


def test_all_addresses_are_of_domains_that_exist_for_nobody() -> None:
    for tenant in tenants().values():
        for address in (*tenant.emails, *tenant.cc_emails):
            assert address.endswith(".example")


def demo_documents() -> list[InvoiceDocument]:
    settings = json.loads((DEMO / "settings.json").read_text(encoding="utf-8"))
    agency = Agency(
        **{
            name: settings[f"agency_{name}"]
            for name in ("name", "nit", "address", "city", "phone", "email", "logo")
        },
        payment_instructions=settings["payment_instructions"],
    )
    billed = {row["tenant_code"]: row for row in rows("tenants")}
    documents = []
    for number, (lease, draft) in enumerate(drafts(NOVEMBER), 1):
        tenant = billed[lease["tenant_code"]]
        party = Party(
            **{
                name.removeprefix("tenant_"): tenant[name]
                for name in ("tenant_code", "name", "document_type", "document_number", "city", "language")
            }
        )
        documents.append(
            InvoiceDocument(
                number=f"FV-{number}",
                language=party.language,
                agency=agency,
                tenant=party,
                lease_code=draft.lease_code,
                property=lease["property"],
                property_city=lease["city"],
                use=lease["use"],
                period=NOVEMBER,
                lines=tuple(
                    Line(
                        line.concept,
                        line.description,
                        line.amount,
                        line.tax_rate,
                        line.tax,
                        line.active and line.active.active,
                        line.active and NOVEMBER.days,
                    )
                    for line in draft.lines
                ),
                subtotal=draft.subtotal,
                tax=draft.tax,
                withholdings=tuple(
                    Withholding(kept.tax, kept.rate, kept.base, kept.amount) for kept in draft.withholdings
                ),
                withholding=draft.withholding,
                total=draft.total,
                currency=draft.currency,
                issued_on=NOVEMBER.first_day,
                due_on=datetime.date(2026, 11, 6),
            )
        )
    return documents


def test_its_longest_invoices_take_one_page() -> None:
    longest = sorted(demo_documents(), key=lambda one: len(one.lines) + len(one.withholdings))[-5:]
    longest += sorted(demo_documents(), key=lambda one: len(one.tenant.name))[-2:]
    with InvoiceRenderer(load_shipped()) as renderer:
        for document in longest:
            facts = subprocess.run(
                ["pdfinfo", "-"], input=renderer.render(document), capture_output=True, check=True
            )
            assert b"Pages:           1\n" in facts.stdout, document.label
