"""Documents of invoices that nobody is mailed: which are made, which are not, and who is told of one that cannot be."""

import datetime
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from invoicing.domain.delivery import DocumentBatch
from invoicing.domain.errors import PermanentFailureError, TemporaryFailureError
from invoicing.rendering.errors import RenderFailedError, RenderInterruptedError
from invoicing.services.billing import runs, single_invoices
from invoicing.services.billing.single_invoice_request import checked_request
from invoicing.services.delivery import approvals, corrections, render, select
from invoicing.services.delivery.archive import FolderArchive, StorageFaultError
from invoicing.services.delivery.unmailed import ask_for_unmailed, render_unmailed
from invoicing.services.views import health
from invoicing.services.views.attention import UNMADE_PATIENCE, needs_attention
from invoicing.services.views.health import Here
from invoicing.words.failures import Fault
from support.agency import NOVEMBER, Agency
from support.archive import archive_in

RENDERED: list[str] = []


@pytest.fixture
def archive(tmp_path: Path) -> FolderArchive:
    return archive_in(tmp_path / "archive")


@pytest.fixture(autouse=True)
def printer(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the renderer's place one that says which invoice it was given, and refuses what a test wants refused."""

    class Printer:
        def __init__(self, *_: object) -> None: ...

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

        def render(self, invoice: object) -> bytes:
            number = invoice.number  # type: ignore[attr-defined]
            if number in REFUSED:
                raise REFUSED[number]
            RENDERED.append(number)
            return f"%PDF {number}".encode()

    RENDERED.clear()
    REFUSED.clear()
    monkeypatch.setattr(render, "InvoiceRenderer", Printer)


REFUSED: dict[str, RenderFailedError] = {}


@pytest.fixture
def month(agency: Agency) -> Agency:
    """A gets mail; B and C, with two invoices, get none by the rules."""
    agency.add_tenant("A")
    agency.add_tenant("B", auto_send=False)
    agency.add_tenant("C", leases=2, emails=[])
    return agency


def tenants_of(agency: Agency, batches: list[DocumentBatch]) -> list[str]:
    ids = [id_ for batch in batches for id_ in batch.invoice_ids]
    rows = agency.db.execute(
        "SELECT t.code FROM invoicing.invoice i JOIN invoicing.tenant t ON t.id = i.tenant_id"
        " WHERE i.id = ANY(%s) ORDER BY i.id",
        [ids],
    )
    return [row["code"] for row in rows]


def asked_of(agency: Agency) -> list[str]:
    """A new run up to its mail; the tenants of the documents that it asks for."""
    run_id, _ = agency.run()
    return tenants_of(agency, ask_for_unmailed(agency.db, run_id))


def make(agency: Agency, archive: FolderArchive, run_id: int, **options: object) -> int:
    return sum(
        render_unmailed(agency.db, archive, run_id, batch, **options)  # type: ignore[arg-type]
        for batch in ask_for_unmailed(agency.db, run_id)
    )


def numbers_of(agency: Agency, tenant: str) -> list[str]:
    rows = agency.db.execute(
        "SELECT i.number FROM invoicing.invoice i JOIN invoicing.tenant t ON t.id = i.tenant_id"
        " WHERE t.code = %s ORDER BY i.id",
        [tenant],
    )
    return [row["number"] for row in rows]


def documents_check(agency: Agency, *, later: datetime.timedelta = datetime.timedelta()) -> health.Check:
    now = datetime.datetime.now(datetime.UTC) + later
    checks = {check.name: check for check in health.look(agency.db, Here(now))}
    found = needs_attention(agency.db, now).unmade
    assert checks["documents"].ok is (found.count == 0)
    return checks["documents"]


def test_what_nobody_is_mailed_is_made_once(month: Agency, archive: FolderArchive) -> None:
    run_id, _ = month.run()
    (batch,) = ask_for_unmailed(month.db, run_id)
    assert batch.label == "B B … C C (2)"
    assert tenants_of(month, [batch]) == ["B", "C", "C"]

    assert render_unmailed(month.db, archive, run_id, batch) == 3
    assert render_unmailed(month.db, archive, run_id, batch, is_repeated=True) == 0
    assert sorted(RENDERED) == sorted(numbers_of(month, "B") + numbers_of(month, "C"))
    assert month.db.execute("SELECT count(*) AS n FROM invoicing.unmade_document").fetchone() == {"n": 0}
    assert asked_of(month) == []
    assert documents_check(month).ok


def test_with_sending_off_all_are_made_and_with_the_setting_off_none(month: Agency) -> None:
    month.set(auto_send=False)
    assert asked_of(month) == ["A", "B", "C", "C"]

    month.set(unmailed_documents=False)
    assert asked_of(month) == []
    assert documents_check(month, later=2 * UNMADE_PATIENCE).ok, "what is not wanted any more is not missed"


HELD_OR_GONE: dict[str, Callable[[Agency], object]] = {
    "hold": lambda month: month.db.execute(
        "INSERT INTO invoicing.sending_hold (tenant_id, period, reason, actor)"
        " SELECT id, '2026-11', 'disputed', 'ana' FROM invoicing.tenant WHERE code = 'B'"
    ),
    "void": lambda month: corrections.void(month.db, numbers_of(month, "C")[0], reason="twice", actor="ana"),
}


@pytest.mark.parametrize("act", HELD_OR_GONE)
def test_what_is_held_or_void_is_not_made_not_even_after_it_was_asked_for(
    month: Agency, archive: FolderArchive, act: str
) -> None:
    run_id, _ = month.run()
    batches = ask_for_unmailed(month.db, run_id)

    HELD_OR_GONE[act](month)

    assert [render_unmailed(month.db, archive, run_id, batch) for batch in batches] == [2]
    left = numbers_of(month, "C") if act == "hold" else [*numbers_of(month, "B"), numbers_of(month, "C")[1]]
    assert sorted(RENDERED) == sorted(left)
    assert documents_check(month, later=2 * UNMADE_PATIENCE).ok
    again, _ = month.run()
    assert ask_for_unmailed(month.db, again) == [] or act == "void"  # its lease is billed anew


def test_what_a_message_carries_is_not_made_here_whatever_became_of_it(month: Agency) -> None:
    """Its own task makes it; a rejected month's messages are held, and carry theirs."""
    month.set(approval="always")
    run_id, _ = month.run()
    assert approvals.look(month.db, run_id).asked
    approvals.answer(month.db, NOVEMBER, "rejected", reason="no", actor="ana", via="page")

    assert tenants_of(month, ask_for_unmailed(month.db, run_id)) == ["B", "C", "C"]


def test_one_that_cannot_be_made_is_told_of_until_it_is(month: Agency, archive: FolderArchive) -> None:
    run_id, _ = month.run()
    (bad, good) = numbers_of(month, "C")
    REFUSED[bad] = RenderFailedError(bad, Fault("subject_empty"))
    named: list[str] = []

    with pytest.raises(PermanentFailureError, match=bad):
        make(month, archive, run_id, on_failed=named.extend)

    assert named == [bad]
    assert good in RENDERED
    check = documents_check(month)
    assert check.alarms
    assert bad in str(check.detail)
    assert good not in str(check.detail)
    (told,) = needs_attention(month.db, datetime.datetime.now(datetime.UTC)).unmade.named
    assert (told.number, told.tenant, told.period) == (bad, "C", "2026-11")
    assert told.problem_es
    assert told.problem_en
    assert told.problem_es != told.problem_en

    REFUSED.clear()
    assert make(month, archive, month.run()[0]) == 1
    assert documents_check(month).ok


def test_a_renderer_that_was_interrupted_may_try_again(month: Agency, archive: FolderArchive) -> None:
    run_id, _ = month.run()
    REFUSED[numbers_of(month, "B")[0]] = RenderInterruptedError("x", Fault("subject_empty"))
    with pytest.raises(TemporaryFailureError):
        make(month, archive, run_id)


def test_an_archive_that_takes_nothing_is_told_of_by_every_document(
    month: Agency, archive: FolderArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, _ = month.run()
    first = numbers_of(month, "B")[0]
    kept = archive.store

    def store(key: str, content: bytes) -> None:
        if not key.endswith(f"-{first}.pdf"):
            raise OSError(errno.ENOSPC, "No space left on device")
        kept(key, content)

    monkeypatch.setattr(archive, "store", store)
    with pytest.raises(StorageFaultError):
        make(month, archive, run_id)

    detail = str(documents_check(month).detail)
    assert all(number in detail for number in numbers_of(month, "C"))
    assert first not in detail


def test_one_that_nobody_tried_is_told_of_some_hours_after_the_mail(month: Agency) -> None:
    """Killed workers leave no word."""
    run_id, _ = month.run()
    ask_for_unmailed(month.db, run_id)
    assert documents_check(month, later=2 * UNMADE_PATIENCE).ok, "its mail may take days"
    month.db.execute("UPDATE invoicing.cycle_run SET ended_at = now()")
    assert documents_check(month).ok
    assert not documents_check(month, later=2 * UNMADE_PATIENCE).ok


def test_what_is_decided_on_one_by_one_has_its_document_from_that_run(
    month: Agency, archive: FolderArchive
) -> None:
    fine = checked_request("S-1", "B", "", [{"description": "Multa", "amount": "80000", "tax": "none"}])
    single_invoices.create(month.db, fine, source="form", actor="ana")
    assert asked_of(month) == ["B", "C", "C"], "the month's run has the month's"
    run_id = runs.open_run(month.db, dag_id="send_new_invoices", dag_run_id="s1", period=None)
    assert ask_for_unmailed(month.db, run_id) == [], "nobody has decided yet"
    select.select_new_invoices(month.db, run_id)

    assert make(month, archive, run_id) == 1
    assert make(month, archive, run_id) == 0
    assert documents_check(month).ok
