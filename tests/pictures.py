"""A picture of every page, and of an invoice and a message of the demo agency: ``make pictures``.

    PYTHONPATH=plugins:tests .venv/bin/python tests/pictures.py [--documents]

They are written to ``var/pictures``, every page in both themes, languages and widths; with ``--documents``, those that
stand in ``docs/pictures`` under the same name are replaced too. Fails where a page was left out.
"""

import argparse
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from invoicing.db.connection import Database, connect
from invoicing.domain.delivery import Batch
from invoicing.domain.period import Period
from invoicing.rendering.pictures import draw_pages
from invoicing.services.billing import count, generate, runs, single_invoices
from invoicing.services.billing.runs import Starter
from invoicing.services.delivery import render, resolution, select
from invoicing.services.delivery.archive import Archive
from support.archive import archive_in
from support.browser import open_chromium, serve
from support.database import running_server
from support.project import ROOT
from support.site import NOVEMBER, populate
from support.visiting import App, open_app

PICTURES = ROOT / "var" / "pictures"
TEMPLATES = ROOT / "include" / "templates" / "pages"
# Shown by the README: a shop with withholdings and a discount, and a restaurant with three invoices.
INVOICE_OF, MESSAGE_TO = "T048", "T056"
A4_WIDTH, MESSAGE_WIDTH, LONGEST = 827, 680, 2600

# By name; what is in braces is looked up in the agency.
PLACES = {
    "cycles": "/cycles",
    "cycle": "/cycles/2026-11",
    "cycle-running": "/cycles/2027-01",
    "cycle-none": "/cycles/2026-11?q=nadie",
    "cycle-retry": "/cycles/2026-11/retry",
    "cycle-failed": "/cycles/2026-11/tenants/{failed}",
    "cycle-tenant": "/cycles/2026-11/tenants/T048",
    "cycle-skipped": "/cycles/2026-11/tenants/T004",
    "foresight": "/foresight/2026-12",
    "foresight-first": "/foresight/2026-10",
    "foresight-refused": "/foresight/2016-01",
    "foresight-invoice": "/foresight/2026-12/leases/C051",
    "singles": "/cycles/singles",
    "resends": "/cycles/singles?kind=resends",
    "delivery": "/deliveries/{delivery}",
    "message": "/deliveries/{delivery}/message",
    "invoice": "/invoices/{invoice}",
    "tenants": "/tenants",
    "tenants-problem": "/tenants?problem=invalid_email",
    "tenants-none": "/tenants?q=nadie",
    "new-tenant": "/new/tenant",
    "new-tenant-refused": "/new/tenant",
    "lease": "/leases/C051",
    "new-lease": "/new/lease?tenant=T048",
    "new-lease-refused": "/new/lease?tenant=T048",
    "new-invoice": "/new/invoice?tenant=T048&lease=C051",
    "new-invoice-seen": "/new/invoice?tenant=T048&lease=C051",
    "new-invoice-refused": "/new/invoice",
    "new-invoice-unsent": "/new/invoice?tenant=T004",
    "tenant": "/tenants/T048",
    "switch": "/tenants",
    "templates": "/templates",
    "template": "/templates/default",
    "template-banner": "/templates/banner",
    "template-refused": "/templates/default",
    "template-versions": "/templates/default/versions",
    "template-version": "/templates/default/versions/1",
    "automation": "/automation",
    "automation-refused": "/automation",
    "history": "/automation/history",
    "version": "/automation/versions/2",
    "run-without-cycle": "/runs/other/manual__9",
    "missing": "/nothing",
}


def ask_for_a_switch(page: Page) -> None:
    for box in page.locator("input[name=code]").all()[:3]:
        box.check()
    page.locator("select#action").select_option("only_multiple:yes")
    page.locator("form:has(#action) button[type=submit]").click()


def save_a_wrong_address(page: Page) -> None:
    page.locator("[name=from_email]").fill("nadie")
    page.locator("button.button--primary[type=submit]").click()


def save_code_in_a_sentence(page: Page) -> None:
    page.locator("[name=greeting_es]").fill("Hola {{ tenant.name }}")
    page.locator("[data-save]").click()


def leave_all_empty(page: Page) -> None:
    page.locator("main .button--primary[type=submit]").click()


def save_a_wrong_charge(page: Page) -> None:
    page.locator("[name=code]").fill("C999")
    page.locator("[name=rent]").fill("2.500.000")
    page.locator("button[value=add]").click()
    page.locator("[name='charges.0.concept']").fill("parking")
    page.locator("main .button--primary[type=submit]").click()


def bill(page: Page) -> None:
    page.locator("[name='lines.0.description']").fill("Reparación de la puerta de la bodega")
    page.locator("[name='lines.0.amount']").fill("480000")


def see_what_would_be(page: Page) -> None:
    bill(page)
    page.locator("button[value=add]").click()
    page.locator("[name='lines.1.description']").fill("Copia de llaves")
    page.locator("[name='lines.1.amount']").fill("35000")
    page.locator("[name='lines.1.tax']").select_option("none")
    page.locator("button.button[value=check]").click()
    page.locator("button[formaction*='view=pages']").click()
    page.frame_locator("iframe").locator("img").first.wait_for()


def bill_somebody(page: Page) -> None:
    page.locator("[name=tenant]").fill("gómez")
    page.locator("[name='lines.0.description']").fill("Copia de llaves")
    page.locator("[name='lines.0.amount']").fill("35.000")
    page.locator("main .button--primary[type=submit]").click()


def bill_nobody_written_to(page: Page) -> None:
    bill(page)
    page.locator("main .button--primary[type=submit]").click()


# What is done on a page before its picture is taken.
STEPS: dict[str, Callable[[Page], None]] = {
    "switch": ask_for_a_switch,
    "automation-refused": save_a_wrong_address,
    "template-refused": save_code_in_a_sentence,
    "new-tenant-refused": leave_all_empty,
    "new-lease-refused": save_a_wrong_charge,
    "new-invoice-seen": see_what_would_be,
    "new-invoice-refused": bill_somebody,
    "new-invoice-unsent": bill_nobody_written_to,
}


@dataclass(frozen=True, slots=True)
class Site:
    """The demo agency's pages, served."""

    address: str
    app: App
    invoice: str
    delivery: int
    failed: str


def fill(db: Database, archive: Archive, folder: Path) -> None:
    """The demo agency after November, with documents, two single invoices and a message sent twice."""
    populate(db, archive)
    singles = folder / "singles.csv"
    singles.write_text(
        "invoice_ref,tenant_code,lease_code,description,amount,tax\n"
        "2026-114,T048,C051,Reparación de la puerta de la bodega,480000,iva\n"
        "2026-115,T009,,Copia de llaves,35000,none\n",
        encoding="utf-8",
    )
    single_invoices.create_from_file(db, singles, actor="ana")
    resolution.resend(db, [newest_delivery(db, MESSAGE_TO)], reason="the tenant lost it", actor="ana")
    change_for_december(db)
    begin(db, archive, Period(2027, 1))


def begin(db: Database, archive: Archive, month: Period) -> None:
    """A month whose run has made half of its documents."""
    who = Starter("command", "ana, admin")
    run_id = runs.open_run(
        db, dag_id="monthly_invoicing", dag_run_id=f"{month} manual 1", period=month, starter=who
    )
    generate.generate_invoices(db, run_id)
    count.count_invoices(db, run_id)
    batches = select.select_recipients(db, run_id)
    ids = [delivery_id for batch in batches for delivery_id in batch.delivery_ids]
    render.render_batch(db, archive, run_id, Batch("half", tuple(ids[: len(ids) // 2])))


def change_for_december(db: Database) -> None:
    """What happens to an agency within a month: a rent that rises, one too much, a lease that ends, one that begins."""
    for statement in (
        "UPDATE invoicing.lease SET rent = rent * 1.052 WHERE code < 'C010'",
        "UPDATE invoicing.lease SET rent = rent * 10 WHERE code = 'C020'",
        "UPDATE invoicing.lease SET end_date = '2026-11-30' WHERE code IN ('C030', 'C031')",
        (
            "INSERT INTO invoicing.lease (code, tenant_id, property, city, use, start_date, rent, currency)"
            " SELECT 'C900', tenant_id, 'Calle 90 # 11-20', city, 'residential', '2026-12-10', 2300000, 'COP'"
            " FROM invoicing.lease WHERE code = 'C040'"
        ),
        "UPDATE invoicing.tenant SET emails = '{}' WHERE code = 'T012'",
        # Before any rate of IVA was in force: a run of that month would fail.
        (
            "INSERT INTO invoicing.lease (code, tenant_id, property, city, use, start_date, end_date, rent, currency)"
            " SELECT 'C901', tenant_id, 'Local 3', city, 'commercial', '2016-01-01', '2016-12-31', 900000, 'COP'"
            " FROM invoicing.lease WHERE code = 'C040'"
        ),
    ):
        db.execute(statement.encode())


def newest_delivery(db: Database, tenant: str) -> int:
    (row,) = db.execute(
        "SELECT max(d.id) AS id FROM invoicing.delivery d JOIN invoicing.tenant t ON t.id = d.tenant_id"
        " WHERE t.code = %s AND d.period = %s",
        [tenant, str(NOVEMBER)],
    ).fetchall()
    return int(row["id"])


def failing_tenant(db: Database) -> str:
    (row,) = db.execute(
        "SELECT t.code FROM invoicing.delivery d JOIN invoicing.tenant t ON t.id = d.tenant_id"
        " WHERE d.state = 'failed' ORDER BY d.id LIMIT 1"
    ).fetchall()
    return str(row["code"])


def first_invoice(db: Database, tenant: str) -> str:
    (row,) = db.execute(
        "SELECT number FROM invoicing.invoice i JOIN invoicing.tenant t ON t.id = i.tenant_id"
        " WHERE t.code = %s ORDER BY i.id LIMIT 1",
        [tenant],
    ).fetchall()
    return str(row["number"])


@contextmanager
def open_site() -> Iterator[Site]:
    with (
        tempfile.TemporaryDirectory(prefix="inv-pictures-") as name,
        running_server() as server,
        server.fresh_copy() as dsn,
    ):
        folder = Path(name)
        with connect(dsn) as db:
            fill(db, archive_in(folder / "archive"), folder)
            invoice, delivery = first_invoice(db, INVOICE_OF), newest_delivery(db, MESSAGE_TO)
            failed = failing_tenant(db)
        with open_app(dsn, folder / "archive") as app, serve(app) as address:
            yield Site(address, app, invoice, delivery, failed)


def open_page(browser: Browser, site: Site, **options: Any) -> Page:
    """A page in a browser of somebody who may change everything."""
    context = browser.new_context(**options)
    context.add_cookies([{"name": "visitor", "value": "ana", "url": site.address}])
    return context.new_page()


def height_of(page: Page) -> int:
    return min(LONGEST, int(page.evaluate("document.documentElement.scrollHeight")))


def photograph_pages(browser: Browser, site: Site, folder: Path) -> None:
    """One file a page, theme, language and width: ``NAME-SCHEME-LANGUAGE-WIDTH.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    for language, locale in (("es", "es-CO"), ("en", "en-US")):
        page = open_page(browser, site, locale=locale, viewport={"width": 1280, "height": 900})
        for name, place in PLACES.items():
            page.goto(
                site.address + place.format(invoice=site.invoice, delivery=site.delivery, failed=site.failed)
            )
            if name in STEPS:
                STEPS[name](page)
            page.wait_for_load_state("networkidle")
            for scheme, width in product(("light", "dark"), (1280, 390)):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                page.set_viewport_size({"width": width, "height": 900})
                # What sticks to the window's edge is to stick to the picture's.
                page.set_viewport_size({"width": width, "height": height_of(page)})
                height = height_of(page)
                page.screenshot(
                    path=folder / f"{name}-{scheme}-{language}-{width}.png",
                    full_page=True,
                    clip={"x": 0, "y": 0, "width": width, "height": height},
                )
            page.set_viewport_size({"width": 1280, "height": 900})
        page.context.close()


def photograph_documents(browser: Browser, site: Site, folder: Path) -> None:
    """``invoice.png`` and ``mail.png``."""
    page = open_page(browser, site, viewport={"width": MESSAGE_WIDTH, "height": 400})
    pdf = page.request.get(f"{site.address}/invoices/{site.invoice}/document.pdf").body()
    (drawn,) = draw_pages(pdf, site.invoice, width=A4_WIDTH).pictures
    (folder / "invoice.png").write_bytes(drawn)
    page.goto(f"{site.address}/deliveries/{site.delivery}/message.html")
    page.screenshot(path=folder / "mail.png", full_page=True)
    page.context.close()


def record_pages(app: App) -> set[str]:
    """The names, filled in from now on, of the templates that the app answers with."""
    seen: set[str] = set()
    pages = app.app.state.pages
    respond = pages.respond

    def recording(request, template, *arguments, **values):  # type: ignore[no-untyped-def]
        seen.add(template)
        return respond(request, template, *arguments, **values)

    pages.respond = recording
    return seen


def main() -> int:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", action="store_true", help="replace those in docs/pictures too")
    asked = parser.parse_args()
    shutil.rmtree(PICTURES, ignore_errors=True)
    with open_site() as site, open_chromium() as browser:
        seen = record_pages(site.app)
        photograph_pages(browser, site, PICTURES / "pages")
        photograph_documents(browser, site, PICTURES)
    kept = ROOT / "docs" / "pictures"
    for picture in kept.rglob("*.png") if asked.documents else ():
        shutil.copyfile(PICTURES / picture.relative_to(kept), picture)
    print(f"{len(list(PICTURES.rglob('*.png')))} pictures in {PICTURES}")
    pages = {each.name for each in TEMPLATES.glob("*.html") if '{% extends "base.html"' in each.read_text()}
    for forgotten in sorted(pages - seen):
        print(f"no picture shows {forgotten}: give it a place in {Path(__file__).name}", file=sys.stderr)
    return 1 if pages - seen else 0


if __name__ == "__main__":
    sys.exit(main())
