"""What people and workers do to a month between its runs, one act after another, at random."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from hypothesis import event
from hypothesis import strategies as st

from invoicing.domain.errors import InputError, InvoicingError
from invoicing.domain.period import Period
from invoicing.services.delivery import approvals, closing, holds, resolution
from invoicing.services.delivery.send_now import send_now
from support.agency import NOVEMBER, Agency

_WHY = {"reason": "at random", "actor": "ana"}


@dataclass(frozen=True, slots=True)
class Act:
    """To the tenant at a place of the list, or to all of the month.

    Args:
        what: A method of `Acts`.
    """

    what: str
    tenant: int


@dataclass
class Acts:
    """What may be done to ``period``, as pages, commands and workers do it; ``code`` is a tenant's."""

    agency: Agency
    period: Period = NOVEMBER

    def do(self, act: Act) -> None:
        """Do it; what is refused changes nothing."""
        chosen: Callable[[str], Any] = getattr(self, act.what)
        done = "refused"
        with (
            contextlib.suppress(InvoicingError, psycopg.errors.IntegrityError),
            self.agency.db.transaction(),
        ):
            chosen(f"T{act.tenant}")
            done = "done"
        event(f"{act.what}: {done}")

    def run(self, _: str) -> None:
        run_id, _batches = self.agency.run(self.period)
        approvals.look(self.agency.db, run_id)

    def close_runs(self, _: str) -> None:
        rows = self.agency.db.execute("SELECT id FROM invoicing.cycle_run WHERE state = 'running'").fetchall()
        for row in rows:
            with contextlib.suppress(InvoicingError):
                closing.close_run(self.agency.db, row["id"])

    def hold(self, code: str) -> None:
        holds.hold(self.agency.db, code, self.period, **_WHY)

    def release(self, code: str) -> None:
        holds.release(self.agency.db, code, self.period, **_WHY)

    def stop(self, _: str) -> None:
        holds.stop_month(self.agency.db, self.period, **_WHY)

    def resume(self, _: str) -> None:
        holds.resume_month(self.agency.db, self.period, **_WHY)

    def send_by_name(self, code: str) -> None:
        send_now(self.agency.db, self.period, [code], actor="ana")

    def approve(self, _: str) -> None:
        approvals.answer(self.agency.db, self.period, "approved", via="page", **_WHY)

    def reject(self, _: str) -> None:
        approvals.answer(self.agency.db, self.period, "rejected", via="page", **_WHY)

    def accept(self, code: str) -> None:
        self._leave(code, "claimed", "transmitting", "sent")

    def refuse(self, code: str) -> None:
        self._leave(code, "claimed", "transmitting", "failed")

    def doubt(self, code: str) -> None:
        self._leave(code, "claimed", "transmitting", "in_doubt")

    def begin(self, code: str) -> None:
        """A worker is at it still."""
        self._leave(code, "claimed", "transmitting")

    def retry(self, code: str) -> None:
        resolution.resolve(self.agency.db, self._newest(code), "retry", **_WHY)

    def settle(self, code: str) -> None:
        resolution.resolve(self.agency.db, self._newest(code), "failed", **_WHY)

    def resend(self, code: str) -> None:
        resolution.resend(self.agency.db, [self._newest(code)], **_WHY)

    def cancel(self, code: str) -> None:
        resolution.cancel(self.agency.db, [self._newest(code)], **_WHY)

    def _newest(self, code: str) -> int:
        row = self.agency.db.execute(
            "SELECT coalesce(max(d.id), 0) AS id FROM invoicing.delivery AS d"
            " JOIN invoicing.tenant AS t ON t.id = d.tenant_id WHERE t.code = %s AND d.period = %s",
            [code, str(self.period)],
        ).fetchone()
        assert row is not None
        return int(row["id"])

    def _leave(self, code: str, *states: str) -> None:
        """Where a worker would get it; the table itself asks for an approval."""
        row = self.agency.db.execute(
            "SELECT FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id"
            " CROSS JOIN invoicing.settings_in_force AS s"
            " WHERE d.id = %s AND d.state = 'pending' AND s.auto_send AND t.auto_send"
            " AND NOT invoicing.is_held(d.tenant_id, d.period)",
            [self._newest(code)],
        ).fetchone()
        if row is None:
            raise InputError("delivery_gone", delivery=code)
        self.agency.put(code, *states)


_NAMES = [name for name in vars(Acts) if not name.startswith("_") and name not in ("do", "period")]
ACT = st.builds(Act, what=st.sampled_from(_NAMES), tenant=st.integers(0, 3))
_RUN = Act("run", 0)


@st.composite
def some_acts(draw: st.DrawFn, most: int) -> list[Act]:
    """So many at the most; often after a run of the month, without which there is little to do."""
    begun = draw(st.sampled_from([[_RUN], [_RUN], []]))
    return begun + draw(st.lists(ACT, max_size=most))
