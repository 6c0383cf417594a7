"""The cycles' pages: what they say is what the ledger says, and what a person decides there is done."""

import csv
import datetime
import io
import json
import os
import re
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from invoicing.db.connection import Database
from invoicing.domain.spreadsheet import safe_cell
from invoicing.domain.task_address import TaskAddress
from invoicing.services.agency.settings import current_settings
from invoicing.services.views import cycle_tenants, report, runs
from invoicing.services.views.cycle_tenants import SORTS, CycleTenantQuery, find_cycle_tenants
from invoicing.services.views.cycles import Month as MonthShown
from invoicing.services.views.paging import Beside
from invoicing.web.html.chart import months_chart
from support.database import airflow_connection
from support.month import NOVEMBER, RUN, Month, November
from support.project import ROOT
from support.visiting import Browser

HERE = "/cycles/2026-11"


@pytest.fixture(scope="module")
def kept_month(november: November, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    """A month for the tests that only look at it."""
    with november.copy(tmp_path_factory.mktemp("month")) as copied:
        yield copied


@pytest.fixture
def reader(kept_month: Month) -> Browser:
    return kept_month.app.as_editor("en")


def plain(page: str) -> str:
    """A page's words."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).replace("&lt;", "<").replace("&#39;", "'").split())


def test_the_figures_are_those_of_cycle_show(kept_month: Month, reader: Browser):
    shown = report.cycle_report(kept_month.db, NOVEMBER)
    assert {key: n for key, n in shown["deliveries"].items() if n} == {"sent": 2, "failed": 1}

    html = reader.see(HERE).text

    assert re.findall(r'class="funnel__number">([\d,]+)<', html) == [
        str(shown["invoices"]["count"]),
        str(shown["tenants"]),
        str(shown["decisions"]["send"]),
        str(shown["deliveries"]["sent"]),
    ]
    for reason, count in shown["decisions"].items():
        if reason != "send":
            assert re.search(
                rf'outcome={reason}#tenants">[^<]+</a><span class="tally__number">{count}<', html
            ), reason
    assert reader.ask("GET", "/cycles/2026-11").json() == json.loads(json.dumps(shown))
    progress = reader.ask("GET", "/cycles/2026-11/progress").json()
    assert progress == {
        "period": "2026-11",
        "running": False,
        "state": "open",
        "invoices": 7,
        "tenants": 6,
        "to_send": 3,
        "sent": 2,
        "failed": 1,
        "in_doubt": 0,
        "waiting": 0,
        "run": None,
    }


def test_the_pages_and_the_command_line_say_the_same(kept_month: Month, reader: Browser, tmp_path: Path):
    done = subprocess.run(
        [ROOT / "bin" / "invoicing", "cycle", "show", "2026-11", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "AIRFLOW_CONN_INVOICING_DB": airflow_connection(kept_month.db.info.dsn),
            "INVOICING_STATE": str(tmp_path),
        },
    )

    assert reader.ask("GET", "/cycles/2026-11").json() == json.loads(done.stdout)


def test_what_failed_is_said_first_with_what_it_means_and_its_task(kept_month: Month, reader: Browser):
    html = reader.see(HERE).text

    trouble = html.index('class="card trouble"')
    assert trouble < html.index('class="funnel"')
    said = html[trouble : html.index('class="funnel"')]
    assert "1 failed" in said
    assert "This address does not exist at its server." in said
    # The relay's own words are on the delivery's page.
    assert "550 5.1.1 User unknown" not in html
    assert "550 5.1.1 User unknown" in reader.see(f"/deliveries/{kept_month.delivery('RITA')}").text
    run = "manual__2026-11-01T06%3A00%3A00%2B00%3A00"
    assert f"/dags/monthly_invoicing/runs/{run}/tasks/send_invoices/mapped/2" in said
    assert f"/dags/monthly_invoicing/runs/{run}" in html


def test_a_tenant_is_told_why_there_is_no_mail_in_both_languages(kept_month: Month, reader: Browser):
    assert (
        "Regla del arrendatario: solo múltiples. Tiene 1 factura → sin correo"
        in kept_month.app.as_editor("es").see(f"{HERE}/tenants/CAM").text
    )
    assert (
        "Tenant’s rule: only multiple. There is 1 invoice → no mail" in reader.see(f"{HERE}/tenants/CAM").text
    )
    assert "No rule objects → mail is sent" in reader.see(f"{HERE}/tenants/ANA").text


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", ["ANA", "BEA", "CAM", "DAN", "EVA", "RITA"]),
        ("?q=peña", ["ANA"]),
        ("?q=PENA", ["ANA"]),
        ("?q=correo.example&outcome=send", ["ANA", "BEA", "RITA"]),
        ("?outcome=skip", ["CAM", "DAN", "EVA"]),
        ("?outcome=tenant_only_multiple", ["CAM"]),
        ("?state=failed", ["RITA"]),
        ("?state=none", ["CAM", "DAN", "EVA"]),
        ("?state=sent&outcome=skip", []),
        ("?sort=-invoices&outcome=send", ["BEA", "RITA", "ANA"]),
        ("?sort=-code", ["RITA", "EVA", "DAN", "CAM", "BEA", "ANA"]),
        ("?sort=state&outcome=send", ["RITA", "ANA", "BEA"]),
        ("?q=%25", []),
        ("?page=900", []),
        ("?sort=';drop&outcome=x&state=y&size=7", ["ANA", "BEA", "CAM", "DAN", "EVA", "RITA"]),
    ],
)
def test_the_tenants_are_found_filtered_and_sorted(reader: Browser, asked: str, found: list[str]):
    html = reader.see(f"{HERE}{asked}").text

    assert re.findall(r'data-label="Code"><span class="mono">(\w+)<', html) == found


def test_what_tenants_and_relays_write_is_never_markup(kept_month: Month, reader: Browser):
    for path in (HERE, f"{HERE}/tenants/CAM", f"{HERE}?q=<script>alert(1)</script>"):
        html = reader.see(path).text
        assert "<img src=x" not in html
        assert "<script>alert" not in html
        assert not re.search(r"\sstyle=|\son\w+=", re.sub(r"&lt;.*?&gt;", "", html))


def test_the_export_holds_what_the_table_shows_and_no_formula(kept_month: Month, reader: Browser):
    answer = reader.see(f"{HERE}/tenants.csv?outcome=send")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="cycle-2026-11.csv"' in answer.headers["content-disposition"]
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["code"] for row in rows] == ["ANA", "BEA", "RITA"]
    assert rows[1]["name"] == "'=cmd|'/c calc'!A1"
    assert rows[2]["state"] == "Failed"
    assert "User unknown" in rows[2]["last reply"]
    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values())


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+57 300", "'+57 300"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("  =1", "'  =1"),
        ("＝1", "'＝1"),
        ("\ufeff=1", "'\ufeff=1"),
        ("\u200b\u200d+1", "'\u200b\u200d+1"),
        ("\u2060\u00a0 -1", "'\u2060\u00a0 -1"),
        ("\u202e@A1", "'\u202e@A1"),
        ("\u00ad\x1f\x7f=1", "'\u00ad\x1f\x7f=1"),
        ("\ufe0f\u034f=1", "'\ufe0f\u034f=1"),
        ("\u3164\u2800=1", "'\u3164\u2800=1"),
        ("\u2028=1", "'\u2028=1"),
        ("﹦1", "'﹦1"),
        ("⁼1", "'⁼1"),
        ("−1", "'−1"),
        ("\u200bSara", "\u200bSara"),
        ("\u200b", "\u200b"),
        ("Ñáñez, =1", "Ñáñez, =1"),
        ("a=1", "a=1"),
        (None, ""),
        (12, "12"),
        ("x\0y", "xy"),
    ],
)
def test_a_cell_is_text_to_every_spreadsheet_program(cell: object, written: str):
    assert safe_cell(cell) == written


def test_the_document_is_the_kept_one_or_none(month: Month, page: Browser):
    number = month.db.execute(
        "SELECT i.number, doc.key FROM invoicing.invoice_document doc"
        " JOIN invoicing.invoice i ON i.id = doc.invoice_id LIMIT 1"
    ).fetchone()
    assert number is not None
    file = month.archive_folder / number["key"]
    kept = file.read_bytes()

    pdf = page.see(f"/invoices/{number['number']}/document.pdf?download=yes")
    assert (pdf.content, pdf.headers["content-type"]) == (kept, "application/pdf")
    pictures = page.see(f"/invoices/{number['number']}/pages")
    assert "data:image/png;base64," in pictures.text
    assert pictures.headers["content-security-policy"].startswith("sandbox; default-src 'none'")

    file.write_bytes(kept + b"x")
    assert page.see(f"/invoices/{number['number']}/document.pdf").status_code == 503
    assert "is not the one that was kept" in page.see(f"/invoices/{number['number']}").text
    assert "is not the one that was kept" in page.see(f"/invoices/{number['number']}/pages").text


def test_the_message_is_the_one_that_was_transmitted(kept_month: Month, reader: Browser):
    delivery = kept_month.delivery("ANA")

    html = reader.see(f"/deliveries/{delivery}/message.html")
    text = reader.see(f"/deliveries/{delivery}/message.txt").text
    eml = reader.see(f"/deliveries/{delivery}/message.eml").content

    assert "Cordial saludo, Ana Peña" in plain(html.text)
    assert html.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "The same bytes as were transmitted" in text
    assert "To: ana@correo.example" in text
    assert eml.replace(b"\r\n", b"\n") in [
        message.replace(b"\r\n", b"\n") for message in kept_month.inbox.messages
    ]
    assert reader.see(f"/deliveries/{delivery}/message").status_code == 200


def test_a_message_whose_document_is_gone_says_so(month: Month, page: Browser):
    for file in month.archive_folder.rglob("*.pdf"):
        file.unlink()

    assert "cannot be read" in page.see(f"/deliveries/{month.delivery('ANA')}/message.html").text


def test_a_person_sends_again_and_it_goes_out(month: Month, page: Browser):
    failed = month.delivery("RITA")
    month.inbox.refuses = False

    answer = page.submit(f"/deliveries/{failed}/resend", {"reason": "address fixed", "back": "cycle"})

    assert answer.url.path.endswith("/cycles/2026-11/tenants/RITA")
    assert "Airflow has been told" in answer.text
    assert month.announced == ["invoices"]
    month.send_again()
    assert month.state(failed) == "sent"
    assert "Sent" in plain(page.see(f"{HERE}/tenants/RITA").text)


def test_what_was_sent_is_sent_again_as_a_delivery_of_its_own(month: Month, page: Browser):
    first = month.delivery("ANA")

    answer = page.submit(f"/deliveries/{first}/resend", {"reason": "lost", "back": "delivery"})

    second = month.delivery("ANA")
    assert second != first
    assert answer.url.path.endswith(f"/deliveries/{second}")
    month.send_again()
    assert len([m for m in month.inbox.messages if b"ana@correo.example" in m]) == 2
    singles = page.see("/cycles/singles?kind=resends").text
    assert f"Delivery {second}" in singles
    assert "lost" in singles
    run = runs.run_of(month.db, "send_new_invoices", "asset_triggered__1")
    assert run is not None
    assert f"Delivery {second}" in page.see(f"/cycles/singles?run={run.id}").text
    assert "send_new_invoices" in page.see(HERE).text


def test_a_person_cancels_what_has_not_left_and_sends_it_after_all(month: Month, page: Browser):
    failed = month.delivery("RITA")
    assert "Cancel the delivery" in page.see(f"/deliveries/{failed}").text

    answer = page.submit(f"/deliveries/{failed}/cancel", {"reason": "moved away", "back": "cycle"})

    assert answer.url.path.endswith("/cycles/2026-11/tenants/RITA")
    assert "no run will send it" in answer.text
    assert "moved away" in answer.text
    assert month.state(failed) == "cancelled"
    assert month.announced == []
    assert (
        "cancelado: ninguna ejecución"
        in month.app.as_editor("es").see(f"/deliveries/{failed}?done=cancelled").text
    )

    page.submit(f"/deliveries/{failed}/resend", {"reason": "back again", "back": "delivery"})
    assert month.state(failed) == "pending"


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        ("failed", "  ", "Give a reason"),
        ("sent", "no more", "is sent: only what has not left is cancelled"),
        ("in_doubt", "no more", "is in_doubt: only what has not left is cancelled"),
    ],
)
def test_what_cannot_be_cancelled_stays_and_the_person_is_told(
    month: Month, page: Browser, state: str, reason: str, words: str
):
    delivery = month.put_in_doubt("RITA") if state == "in_doubt" else month.delivery("RITA")
    if state == "sent":
        delivery = month.delivery("ANA")
    is_offered = f"/deliveries/{delivery}/cancel" in page.see(f"/deliveries/{delivery}").text

    answer = page.submit(f"/deliveries/{delivery}/cancel", {"reason": reason, "back": "delivery"})

    assert answer.status_code == 422
    assert words in answer.text
    assert is_offered == (state == "failed")
    assert month.state(delivery) == state


def test_an_unknown_delivery_and_a_visitor_who_may_only_look_cancel_nothing(month: Month, page: Browser):
    form = {"reason": "x", "back": "delivery"}
    assert page.submit("/deliveries/99999/cancel", form).status_code == 404
    refused = month.app.as_viewer().submit(f"/deliveries/{month.delivery('RITA')}/cancel", form)
    assert refused.status_code == 403
    assert month.state(month.delivery("RITA")) == "failed"


def test_the_api_cancels_all_or_none_and_lists_page_by_page(month: Month, page: Browser):
    sent, failed = month.delivery("ANA"), month.delivery("RITA")
    ids = [row["id"] for row in page.ask("GET", "/deliveries").json()]

    refused = page.ask("POST", "/deliveries/cancel", {"deliveries": [failed, sent], "reason": "x"})
    assert (refused.status_code, refused.json()["code"]) == (422, "cancel_too_late")
    assert month.state(failed) == "failed"
    done = page.ask("POST", "/deliveries/cancel", {"deliveries": [failed, failed], "reason": "x"})
    assert (done.status_code, done.json()) == (200, {"deliveries": [failed]})
    assert month.state(failed) == "cancelled"

    first = page.ask("GET", "/deliveries?limit=2").json()
    rest = page.ask("GET", f"/deliveries?limit=2&after={first[-1]['id']}").json()
    assert [row["id"] for row in first + rest] == ids
    for query in ("limit=0", "limit=x", "after=-1", f"after={10**30}"):
        assert page.ask("GET", f"/deliveries?{query}").status_code == 422, query
    for order in (
        {"deliveries": [], "reason": "x"},
        {"deliveries": [failed]},
        {"deliveries": [10**30], "reason": "x"},
    ):
        assert page.ask("POST", "/deliveries/cancel", order).status_code in (404, 422), order


def test_what_nobody_billed_and_what_drifted_is_said_with_what_to_do(month: Month, page: Browser):
    before = page.see(HERE).text
    assert "without an invoice" not in before
    assert "come out differently" not in before
    month.put_out_of_step()

    for html in (page.see(HERE).text, page.see(f"{HERE}/overview").text):
        words = plain(html)
        assert "1 lease, active in the month, without an invoice. Run the month again" in words
        assert "bin/invoicing run --period 2026-11" in words
        assert "EVA-late · EVA" in words
        assert "1 invoice would come out differently today." in words
        assert "ANA-0 · ANA" in words
    spanish = plain(month.app.as_editor("es").see(HERE).text)
    assert "1 contrato vigente en el mes sin factura. Ejecute el mes otra vez" in spanish
    assert "1 factura saldría hoy distinta." in spanish
    answer = page.ask("GET", "/cycles/2026-11").json()
    assert (answer["unbilled"], answer["drifted"]) == (["EVA-late"], ["ANA-0"])


@pytest.mark.parametrize(
    ("verdict", "state", "told"), [("sent", "sent", 0), ("failed", "failed", 0), ("retry", "pending", 1)]
)
def test_a_person_settles_a_doubt(month: Month, page: Browser, verdict: str, state: str, told: int):
    doubtful = month.put_in_doubt("RITA")
    assert "1 in doubt" in page.see(HERE).text

    answer = page.submit(
        f"/deliveries/{doubtful}/resolve", {"as": verdict, "reason": "the relay’s log", "back": "cycle"}
    )

    assert "The doubt is settled" in answer.text
    assert month.state(doubtful) == state
    assert len(month.announced) == told
    audit = month.db.execute(
        "SELECT actor, details FROM invoicing.audit_event WHERE action = 'delivery_resolved'"
    ).fetchone()
    assert audit is not None
    assert (audit["actor"], audit["details"]["as"]) == ("ana", verdict)


@pytest.mark.parametrize(
    ("action", "form", "said"),
    [
        ("resolve", {"as": "sent", "reason": "  "}, "Give a reason"),
        ("resolve", {"reason": "known"}, "Choose what became of it"),
        ("resolve", {"as": "maybe", "reason": "known"}, "settles nothing"),
        ("resend", {"reason": "again"}, "is in doubt"),
    ],
)
def test_a_decision_that_cannot_be_taken_keeps_what_was_typed(
    month: Month, page: Browser, action: str, form: dict[str, str], said: str
):
    doubtful = month.put_in_doubt("RITA")

    answer = page.submit(f"/deliveries/{doubtful}/{action}", {**form, "back": "cycle"})

    assert answer.status_code == 422
    if action == "resolve":
        assert said in answer.text
        assert f'value="{form["reason"]}"' in answer.text
    assert month.state(doubtful) == "in_doubt"
    assert month.announced == []


def test_where_airflow_is_not_told_the_person_is(november: November, tmp_path: Path):
    def fail() -> None:
        raise RuntimeError("no Airflow")

    with november.copy(tmp_path, announce=fail) as month:
        answer = month.app.as_editor("en").submit(
            f"/deliveries/{month.delivery('RITA')}/resend", {"reason": "again", "back": "delivery"}
        )

        assert "Airflow was not told" in answer.text
        assert month.state(month.delivery("RITA")) == "pending"


def test_the_api_sends_again_and_settles(month: Month, page: Browser):
    doubtful = month.put_in_doubt("RITA")

    settled = page.ask("POST", f"/deliveries/{doubtful}/resolve", {"as": "failed", "reason": "log"})
    again = page.ask("POST", "/deliveries/resend", {"deliveries": [doubtful], "reason": "fixed"})
    refused = page.ask("POST", "/deliveries/resend", {"deliveries": [doubtful], "reason": ""})

    assert settled.json() == {"delivery": doubtful, "as": "failed", "airflow_told": None}
    assert again.json() == {"deliveries": [doubtful], "airflow_told": True}
    assert refused.status_code == 422
    shown = page.ask("GET", f"/deliveries/{doubtful}").json()
    assert shown["task_instance"] == {
        "dag_id": "monthly_invoicing",
        "dag_run_id": RUN,
        "task_id": "send_invoices",
        "map_index": 2,
    }
    assert [event["to_state"] for event in shown["events"]][-2:] == ["failed", "pending"]


def test_a_viewer_reads_everything_and_is_offered_nothing(kept_month: Month):
    viewer = kept_month.app.as_viewer("en")
    failed = kept_month.delivery("RITA")

    for path in ("/cycles", HERE, f"{HERE}/tenants/RITA", f"/deliveries/{failed}", "/cycles/singles"):
        answer = viewer.see(path)
        assert answer.status_code == 200, path
        assert 'method="post"' not in answer.text, path
    assert viewer.submit(f"/deliveries/{failed}/resend", {"reason": "x"}).status_code == 403
    assert kept_month.state(failed) == "failed"


def test_single_invoices_have_a_page(month: Month, page: Browser, tmp_path: Path):
    from invoicing.services.billing.single_invoices import create_from_file

    file = tmp_path / "singles.csv"
    file.write_text(
        "invoice_ref,tenant_code,lease_code,description,amount,tax\n"
        "S-1,ANA,,Copia de llaves,50000,none\nS-2,DAN,,Multa,80000,none\n"
    )
    create_from_file(month.db, file, actor="test")
    assert "to be decided" in page.see("/cycles/singles").text

    month.send_again()
    html = page.see("/cycles/singles").text

    assert "Tenant’s rule: automatic sending is off → no mail" in html
    assert html.index("S-2") < html.index("S-1")
    number = page.ask("GET", "/single-invoices").json()["invoices"][1]["number"]
    assert page.ask("GET", f"/invoices/{number}").json()["origin"] == "single"
    assert page.see(f"/invoices/{number}").status_code == 200
    assert [row["reference"] for row in page.ask("GET", "/single-invoices?q=s-2").json()["invoices"]] == [
        "S-2"
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/cycles/2031-01",
        "/cycles/2031-01/tenants.csv",
        f"{HERE}/tenants/NADIE",
        f"{HERE}/tenants/%00",
        "/deliveries/99999999999999999999",
        "/deliveries/999",
        "/invoices/FV-999",
        "/cycles/singles?run=999",
        "/cycles/singles?run=x",
    ],
)
def test_what_does_not_exist_is_said_to_not_exist(reader: Browser, path: str):
    assert reader.see(path).status_code == 404


def test_airflows_runs_and_tasks_lead_to_the_ledger(month: Month, page: Browser):
    run = "manual__2026-11-01T06%3A00%3A00%2B00%3A00"
    sent = month.delivery("ANA")
    page.submit(f"/deliveries/{sent}/resend", {"reason": "lost", "back": "delivery"})
    month.send_again()

    assert page.see(f"/runs/monthly_invoicing/{run}").url.path.endswith("/cycles/2026-11")
    assert page.see(f"/runs/monthly_invoicing/{run}/tasks/send_invoices/0").url.path.endswith(
        f"/deliveries/{sent}"
    )
    assert "Nothing yet" in page.see(f"/runs/monthly_invoicing/{run}/tasks/open_cycle/-1").text
    single = page.see("/runs/send_new_invoices/asset_triggered__1")
    assert f"Delivery {month.delivery('ANA')}" in single.text


def test_a_month_that_is_none_is_said_to_be_none(reader: Browser):
    assert reader.see("/cycles/2026-13").status_code == 422
    assert reader.see("/cycles/abc").status_code == 422


def test_the_list_has_the_months_as_a_chart_and_as_a_table(kept_month: Month, reader: Browser):
    html = reader.see("/cycles").text

    assert '<svg viewBox="0 0' in html
    assert "November 2026: 2 sent, 1 failed or in doubt, 3 without mail" in plain(html)
    assert re.search(r'state=failed">1<', html)
    assert reader.ask("GET", "/cycles").json()["cycles"][0]["total"] == "7000000"


def test_an_agency_without_a_month_is_told_how_to_get_one(editor: Browser, db: Database):
    current_settings(db)

    assert "bin/invoicing run" in editor.see("/cycles").text


def a_month(period: str, **figures: int) -> MonthShown:
    """A month in which nothing happened but ``figures``."""
    nothing = dict.fromkeys(("tenants", "to_send", "sent", "failed", "in_doubt", "waiting"), 0)
    opened_at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return MonthShown(
        period=period,
        state="open",
        opened_at=opened_at,
        closed_at=None,
        invoices=0,
        total=Decimal(0),
        currency="COP",
        currencies=1,
        running=False,
        **(nothing | figures),
    )


def test_the_chart_shows_every_month_and_never_hides_trouble():
    months = [
        a_month("2026-02", sent=9000, failed=1, tenants=9500, to_send=9001),
        a_month("2026-01"),
    ]

    chart = months_chart(months)

    assert [column.period for column in chart.columns] == ["2026-01", "2026-02"]
    assert chart.columns[0].bars == []
    assert {bar.layer: bar.count for bar in chart.columns[1].bars} == {
        "sent": 9000,
        "trouble": 1,
        "skipped": 499,
    }
    assert all(bar.height >= 2 for bar in chart.columns[1].bars)
    assert chart.lines[-1][1] >= 9500
    assert months_chart([]).lines[-1][1] >= 1


def test_a_task_instance_is_read_from_what_a_delivery_remembers():
    found = TaskAddress.parse("dag/a/b c/send_invoices/12 try 3")
    assert found is not None
    assert (found.dag_id, found.dag_run_id, found.task_id, found.map_index) == (
        "dag",
        "a/b c",
        "send_invoices",
        12,
    )
    assert str(found) == "dag/a/b c/send_invoices/12"
    for nothing in (None, "", "ana", "a/b", "sweep", "user a/b/c/d"):
        assert TaskAddress.parse(nothing) is None


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("descending", [False, True])
def test_pages_of_two_hold_every_tenant_once_in_the_order_of_the_whole(
    kept_month: Month, sort: str, descending: bool
):
    order: dict[str, Any] = {"sort": sort, "descending": descending}
    whole, total = find_cycle_tenants(kept_month.db, NOVEMBER, CycleTenantQuery(), **order)
    pages = [
        find_cycle_tenants(kept_month.db, NOVEMBER, CycleTenantQuery(), limit=2, offset=offset, **order)[0]
        for offset in range(0, total, 2)
    ]

    assert [row.tenant for page in pages for row in page] == [row.tenant for row in whole]
    assert sorted(row.tenant for row in whole) == ["ANA", "BEA", "CAM", "DAN", "EVA", "RITA"]
    if sort in ("code", "name"):
        beside = dict(limit=2, offset=99, **order)
        after, _ = find_cycle_tenants(
            kept_month.db, NOVEMBER, CycleTenantQuery(), near=Beside(pages[0][-1].tenant), **beside
        )
        before, _ = find_cycle_tenants(
            kept_month.db,
            NOVEMBER,
            CycleTenantQuery(),
            near=Beside(pages[2][0].tenant, is_before=True),
            **beside,
        )
        assert after == before == pages[1]


@pytest.mark.parametrize("file", ["tenants", "invoices"])
def test_a_csv_file_of_many_batches_is_the_file_of_one(
    kept_month: Month, monkeypatch: pytest.MonkeyPatch, file: str
):
    viewer = kept_month.app.as_viewer()
    in_one = viewer.see(f"/cycles/2026-11/{file}.csv").content
    monkeypatch.setattr(cycle_tenants, "_EXPORT_ROWS", 2)

    assert viewer.see(f"/cycles/2026-11/{file}.csv").content == in_one
    assert viewer.see(f"/cycles/2031-11/{file}.csv").status_code == 404
