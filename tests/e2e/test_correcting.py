"""Corrections on the real stack: by the command line, sent by the real scheduler, found in the mailbox."""

from pathlib import Path

import pytest

from invoicing.domain.period import Period
from invoicing.services.agency import clock
from support.files import write_files
from support.rendering import pages_of
from support.running_stack import Stack, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(600)]

PERIOD = str(Period.containing(clock.today()))
TENANT = "{0},CC,1,{0},{1},,es,Bogotá,no,{2},no"


@pytest.fixture(scope="module")
def agency(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Ana gets mail, Dan does not; both were billed."""
    folder = tmp_path_factory.mktemp("agency") / "files"
    write_files(
        folder,
        tenants=[TENANT.format("ANA", "ana@correo.example", "yes"), TENANT.format("DAN", "", "no")],
        leases=leases(1_000_000),
    )
    stack.run("import", str(folder))
    stack.run("settings", "set", "auto_send=yes", "agency_name=Agencia")
    stack.run("run", "--period", PERIOD, "--wait")
    return stack


def leases(rent: int) -> list[str]:
    return [
        f"{tenant}-1,{tenant},Calle 1,Bogotá,residential,2020-01-01,,{rent},COP" for tenant in ("ANA", "DAN")
    ]


def test_what_was_sent_is_replaced_and_told_and_what_was_not_is_voided(agency: Stack, tmp_path: Path) -> None:
    numbers = {row["lease"]: row["number"] for row in agency.json("cycle", "invoices", PERIOD)}
    before = len(agency.mailbox())
    agency.run("import", str(write_files(tmp_path / "files", leases=leases(900_000))))

    assert agency.json("invoices", "void", numbers["DAN-1"], "--reason", "moved out")["state"] == "void"
    done = agency.json("invoices", "replace", numbers["ANA-1"], "--reason", "a wrong rent")
    assert (done["state"], done["difference"]) == ("credited", "-100000")
    wait_for(lambda: len(agency.mailbox()) > before, "the correction is sent")

    shown = agency.json("cycle", "show", PERIOD)
    assert (shown["balanced"], shown["state"]) == (True, "closed")
    assert (shown["invoices"]["count"], shown["invoices"]["total"]) == (1, "900000")
    assert (shown["credits"]["count"], shown["credits"]["total"]) == (1, "1000000")
    message = agency.mailbox()[-1]
    assert message["Subject"] == f"Corrección de su factura {numbers['ANA-1']} – Agencia"
    attached = {part.get_filename(): part.get_content() for part in message.iter_attachments()}
    assert set(attached) == {
        f"{done['credit_note']['number']}.pdf",
        f"{done['replacement']['number']}.pdf",
    }
    note = " ".join(pages_of(attached[f"{done['credit_note']['number']}.pdf"]))
    assert "Nota crédito" in note
    assert numbers["ANA-1"] in note

    agency.run("run", "--period", PERIOD, "--wait")
    again = agency.json("cycle", "show", PERIOD)
    assert (again["invoices"], again["credits"], again["balanced"]) == (
        shown["invoices"],
        shown["credits"],
        True,
    )
    assert len(agency.mailbox()) == before + 1
