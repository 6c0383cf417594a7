"""A month that went wrong, put right by hand, and proven, on the real stack: each way once, on its page if it has one.

What comes out is checked where there is nothing of this program: by `sha256sum` and Python's own `csv`.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from invoicing.domain.period import Period
from invoicing.services.agency import clock
from support.browser import open_airflow, open_chromium, open_in_airflow
from support.elsewhere import PYTHON, run_elsewhere
from support.files import write_files
from support.project import ROOT
from support.rendering import faults_of, pages_of
from support.running_stack import Stack, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]

OPERATOR = "operaciones@agencia.example"
PERIOD = str(Period.containing(clock.today()))
TENANT = "{0},CC,1,{0},{1},,es,Bogotá,no,{2},no"
# The inbox takes no address whose part before the @ is not ASCII: to Fay nothing can be sent.
TENANTS = (
    ("ANA", "ana@correo.example", "yes"),
    ("BEA", "bea@correo.example", "yes"),
    ("CAM", "cam@correo.example", "yes"),
    ("DAN", "", "no"),
    ("EVA", "", "no"),
    ("FAY", "fañy@correo.example", "yes"),
    ("GIL", "gil@correo.example", "yes"),
)
RENT, LESS = 1_000_000, 900_000

# What somebody makes of the sheets who has no more than them.
SUMS = """
import csv, json
from collections import Counter, defaultdict
def sheet(name):
    with open(f"csv/{name}.csv", encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))
invoices = sheet("invoice")
owed = defaultdict(int)
for row in invoices:
    if row["state"] != "void":
        owed[row["lease"]] += int(row["total"]) * (1 if row["kind"] == "invoice" else -1)
lines = sum(int(row["amount"]) + int(row["tax"]) for row in sheet("invoice_line"))
numbers = defaultdict(list)
for row in invoices:
    numbers[row["series"]].append(int(row["serial"]))
print(json.dumps({
    "owed": owed,
    "credits": sum(int(row["total"]) for row in invoices if row["kind"] == "credit_note"),
    "is_sum_of_lines": lines == sum(int(row["total"]) for row in invoices),
    "is_gapless": all(sorted(each) == list(range(1, len(each) + 1)) for each in numbers.values()),
    "acts": Counter(row["act"] for row in sheet("invoice_correction")),
    "deliveries": Counter(row["state"] for row in sheet("delivery")),
    "accepted": sum(row["verdict"] == "accepted" for row in sheet("delivery_attempt")),
    "resent": sum(row["purpose"] == "resend" for row in sheet("delivery")),
}))
"""


@pytest.fixture(scope="module")
def agency(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Seven tenants; the month's run failed, since the relay refused one of them."""
    folder = tmp_path_factory.mktemp("agency") / "files"
    write_files(folder, tenants=[TENANT.format(*each) for each in TENANTS], leases=leases())
    stack.run("import", str(folder))
    stack.run(
        "settings", "set", "auto_send=yes", "agency_name=Agencia", "from_email=facturas@agencia.example"
    )
    stack.run("series", "set", "FV-", "--from", "1", "--to", "5000", "--valid-to", "2099-12-31")
    stack.run("run", "--period", PERIOD, "--wait", check=False)
    return stack


@pytest.fixture(scope="module")
def airflow(agency: Stack) -> Iterator[Page]:
    """Airflow's UI in English, somebody logged in."""
    expect.set_options(timeout=60_000)
    with open_chromium() as chromium:
        yield open_airflow(chromium, agency, "en")


def leases(**rents: int) -> list[str]:
    return [
        f"{code}-1,{code},Calle 1,Bogotá,residential,2020-01-01,,{rents.get(code, RENT)},COP"
        for code, _, _ in TENANTS
    ]


def number_of(agency: Stack, tenant: str) -> str:
    """Of the tenant's first invoice."""
    return str(next(row["number"] for row in invoices(agency) if row["tenant"] == tenant))


def invoices(agency: Stack) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = agency.json("cycle", "invoices", PERIOD)
    return rows


def delivery_of(agency: Stack, tenant: str) -> int:
    """Of the tenant's first delivery."""
    rows = agency.json("deliveries", "list", "--period", PERIOD)
    return int(next(row["id"] for row in rows if row["tenant"] == tenant))


def to(agency: Stack, address: str) -> int:
    return sum(address in str(message["To"]) for message in agency.mailbox())


def test_a_month_that_went_wrong_is_put_right_and_proven(
    agency: Stack, airflow: Page, tmp_path: Path
) -> None:
    assert agency.json("cycle", "show", PERIOD)["deliveries"]["failed"] == 1
    assert agency.run("health", check=False).returncode == 1

    _retry_on_the_page(agency, airflow, tmp_path)
    _replace_on_the_page(agency, airflow, tmp_path)
    _correct_by_command(agency)
    _resend(agency)
    _tell_the_story(agency, airflow)
    shown = _balances(agency)
    _prove(agency, shown, tmp_path)


def _retry_on_the_page(agency: Stack, airflow: Page, folder: Path) -> None:
    fixed = [TENANT.format(*each).replace("fañy", "fay") for each in TENANTS]
    agency.run("import", str(write_files(folder / "fixed", tenants=fixed)))
    cycle = open_in_airflow(airflow, f"cycles/{PERIOD}")
    cycle.get_by_role("link", name="Retry all that failed…").click()
    expect(cycle.get_by_role("heading", name="1 message is tried once more")).to_be_visible()
    cycle.get_by_role("button", name="Retry 1").click()
    wait_for(lambda: to(agency, "fay@correo.example"), "what failed is sent")
    wait_for(lambda: agency.json("cycle", "show", PERIOD)["state"] == "closed", "the cleared run ends well")


def _replace_on_the_page(agency: Stack, airflow: Page, folder: Path) -> None:
    agency.run("import", str(write_files(folder / "less", leases=leases(ANA=LESS, EVA=LESS))))
    before = to(agency, "ana@correo.example")
    page = open_in_airflow(airflow, f"cycles/../invoices/{number_of(agency, 'ANA')}")
    page.get_by_label("Replace", exact=False).first.check()
    page.get_by_label("Reason").fill("a wrong rent")
    page.get_by_role("button", name="See what would come out").click()
    expect(page.get_by_text("nothing has changed yet")).to_be_visible()
    expect(page.get_by_text("Credit note NC-1")).to_be_visible()
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("heading", name="Corrections")).to_be_visible()
    wait_for(lambda: to(agency, "ana@correo.example") > before, "the correction is told")


def _correct_by_command(agency: Stack) -> None:
    """A void, a void that is issued again, a part that is credited, and the whole; what may not be changes nothing."""
    before = to(agency, "bea@correo.example")
    agency.run("invoices", "void", number_of(agency, "DAN"), "--reason", "moved out")
    agency.run("invoices", "replace", number_of(agency, "EVA"), "--reason", "a wrong rent")
    agency.run("invoices", "credit", number_of(agency, "BEA"), "--line", "1=250000", "--reason", "a week")
    agency.run("invoices", "credit", number_of(agency, "CAM"), "--reason", "moved out")
    refused = agency.run("invoices", "void", number_of(agency, "GIL"), "--reason", "x", check=False)
    assert (refused.returncode, "credit note" in refused.stderr) == (2, True)
    wait_for(lambda: to(agency, "bea@correo.example") > before, "the credit note is sent")
    wait_for(lambda: to(agency, "cam@correo.example") == 2, "the other one too")


def _resend(agency: Stack) -> None:
    agency.run("settings", "set", "subject=Otra cosa")
    agency.run("deliveries", "resend", str(delivery_of(agency, "GIL")), "--reason", "lost")
    wait_for(lambda: to(agency, "gil@correo.example") == 2, "it is sent again")
    first, second = (each for each in agency.mailbox() if "gil@" in str(each["To"]))
    assert (first["Subject"], first["Message-ID"]) != ("Otra cosa", second["Message-ID"])
    assert second["Subject"] == first["Subject"], "the words of then"


def _tell_the_story(agency: Stack, airflow: Page) -> None:
    delivery = delivery_of(agency, "FAY")
    page = open_in_airflow(airflow, f"cycles/../deliveries/{delivery}/story")
    expect(page.get_by_role("heading", name="The story of the delivery to FAY")).to_be_visible()
    expect(page.get_by_text("the same as was transmitted")).to_be_visible()
    told = agency.json("audit", "show", str(delivery))
    assert [each["verdict"] for each in told["attempts"]] == ["refused_permanently", "accepted"]


def _balances(agency: Stack) -> dict[str, Any]:
    agency.run("settings", "set", f"operator_email={OPERATOR}")
    unwell = [each for each in agency.json("health", check=False)["checks"] if not each["ok"]]
    assert unwell == [], "nothing needs a person any more"
    agency.run("run", "--period", PERIOD, "--wait")
    shown: dict[str, Any] = agency.json("cycle", "show", PERIOD)
    assert (shown["balanced"], shown["imbalances"], shown["state"]) == (True, [], "closed")
    # What is left of Bea's is not what her lease says: that was the point.
    assert (shown["unbilled"], shown["drifted"]) == ([], ["BEA-1"])
    assert {row["state"] for row in invoices(agency)} == {"issued", "void", "credited", "partly_credited"}
    assert (shown["credits"]["count"], shown["credits"]["total"]) == (3, str(RENT + 250_000 + RENT))
    # Bea's in part, Fay's and Gil's as they were, Ana's and Eva's anew.
    assert (shown["invoices"]["count"], shown["invoices"]["total"]) == (5, str(3 * RENT + 2 * LESS))
    assert agency.json("health")["ok"]
    return shown


def _prove(agency: Stack, shown: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "export"
    agency.run("audit", "export", PERIOD, str(folder))
    assert agency.run("audit", "export", PERIOD, str(folder), check=False).returncode == 2, "it is not empty"

    _meet_a_full_disk(agency, tmp_path / "full")

    told = run_elsewhere(tmp_path / "room", folder, f"sha256sum -c SHA256SUMS && {PYTHON} -c '{SUMS}'")

    *checked, found = told.splitlines()
    assert len(checked) == sum(path.is_file() for path in folder.rglob("*")) - 1
    assert {line.rpartition(": ")[2] for line in checked} == {"OK"}
    sums = json.loads(found)
    assert sums["owed"] == {
        "ANA-1": LESS,
        "BEA-1": RENT - 250_000,
        "CAM-1": 0,
        "EVA-1": LESS,
        "FAY-1": RENT,
        "GIL-1": RENT,
    }
    assert sum(sums["owed"].values()) == int(shown["invoices"]["total"]) - 250_000
    assert Decimal(sums["credits"]) == Decimal(shown["credits"]["total"])
    assert (sums["is_sum_of_lines"], sums["is_gapless"]) == (True, True)
    assert sums["acts"] == {"void": 2, "credit": 3, "replace": 2}
    assert sums["deliveries"]["sent"] == sums["accepted"] == len(agency.mailbox()) - to(agency, OPERATOR)
    assert sums["resent"] == 1
    for path in (folder / "documents").rglob("*.pdf"):
        assert faults_of(path.read_bytes()) == []
        assert pages_of(path.read_bytes()) != []

    assert agency.run("audit", "verify", str(folder)).returncode == 0
    other = shutil.copytree(folder, tmp_path / "other")
    sheet = other / "csv" / "invoice.csv"
    sheet.write_bytes(sheet.read_bytes().replace(str(LESS).encode(), b"800000", 1))
    differs = agency.run("audit", "verify", str(other), check=False)
    assert (differs.returncode, "csv/invoice.csv" in differs.stdout) == (1, True)


def _meet_a_full_disk(agency: Stack, folder: Path) -> None:
    """In mid-export: it is said, and nothing is left."""
    folder.mkdir()
    command = (
        f"mount -t tmpfs -o size=96k none {folder} && {ROOT}/bin/invoicing audit export {PERIOD} {folder}/out"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{command}; echo $? $(ls -A {folder})"],
        env=agency.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, "No space left" in done.stderr) == ("1\n", True), done.stdout + done.stderr
