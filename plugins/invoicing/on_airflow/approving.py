"""The task that waits for a person: Airflow's human-in-the-loop operator, with our ledger as the arbiter.

It waits only where somebody has to approve, and holds no worker slot meanwhile. Airflow's time-out is never an answer:
it is the moment to look into the ledger, where somebody may have answered whom Airflow could not be told of.
"""

import datetime
import logging
import os
from typing import Any

from airflow.providers.common.compat.sdk import SkipMixin, conf
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import TaskAwaitingInput

from invoicing.domain.approval import OPTIONS
from invoicing.on_airflow.connections import open_database
from invoicing.on_airflow.tasks import task_errors
from invoicing.services.delivery.approvals import Asked, Reply, Verdict

log = logging.getLogger(__name__)

_ANSWERS: dict[str, Any] = {
    OPTIONS["approved"]: "approved",
    OPTIONS["rejected"]: "rejected",
    OPTIONS["overtaken"]: None,
}
_POLL = datetime.timedelta(seconds=float(os.environ.get("INVOICING_APPROVAL_POLL_SECONDS", "300")))
# May be empty: Airflow's page keeps its buttons grey as long as a plain string is.
_REASON = Param(
    None,
    type=["null", "string"],
    maxLength=500,
    title="Motivo · Reason",
    description="Se guarda con la respuesta. Kept with the answer.",
    source="task",
)
# No request has this id: what Airflow shows is not what is asked.
_NOT_SHOWN = 0


class ApproveSending(HITLOperator, SkipMixin):
    """Have a person approve what the run is about to send; at once over where nobody has to.

    Rejected, the tasks right behind it are skipped, and what follows by its own trigger rule closes the run.
    """

    inherits_from_skipmixin = True
    # What is shown is put together when the task runs. It is no template.
    template_fields = ()

    def __init__(self, **kwargs: Any) -> None:
        # Airflow hands over the DAG's params too: this one is the task's own.
        super().__init__(subject="-", options=list(_ANSWERS), **{**kwargs, "params": {"reason": _REASON}})

    def execute(self, context: Any) -> None:
        """Ask, where somebody has to be asked."""
        self._go_on(context, self._look(context, None))

    def execute_complete(self, context: Any, event: dict[str, Any], request_id: int = _NOT_SHOWN) -> None:
        """Somebody answered, or it is time to look whether somebody did elsewhere.

        Args:
            request_id: What Airflow showed them; `_NOT_SHOWN` where that is no longer what is asked.
        """
        reply = _reply(event, request_id)
        verdict = self._look(context, reply)
        if (
            verdict.asked is not None
            and verdict.asked.id == request_id
            and reply is None
            and "error" in event
        ):
            # An answer that comes in while this looks is Airflow's to hand over once the task is parked.
            raise _parked(request_id)
        self._go_on(context, verdict)

    def _look(self, context: Any, reply: Reply | None) -> Verdict:
        from invoicing.services.billing import runs
        from invoicing.services.delivery import approvals

        run: Any = context["dag_run"]
        with task_errors(), open_database() as db:
            return approvals.look(db, runs.find_run(db, run.dag_id, run.run_id), reply)

    def _go_on(self, context: Any, verdict: Verdict) -> None:
        if verdict.asked is not None:
            raise _parked(verdict.asked.id if self._show(context, verdict.asked) else _NOT_SHOWN)
        if verdict.state == "send":
            log.info("nobody has to approve anything (any more): sending goes on")
            return
        log.warning("rejected by %s: %s; nothing is sent", verdict.actor, verdict.reason or "-")
        self.skip(ti=context["ti"], tasks=context["task"].get_direct_relatives(upstream=False))

    def _show(self, context: Any, asked: Asked) -> bool:
        """Have Airflow ask; whether it shows what is asked.

        Airflow keeps a task's text as it was first written, over answers, tries and clears: only what was answered is
        emptied. A person there who was shown something else does not approve this.
        """
        from airflow.sdk.execution_time.comms import CreateHITLDetailPayload
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        from invoicing.rendering.approval import render_request

        pages = f"{(conf.get('api', 'base_url', fallback='') or '').rstrip('/')}/invoicing"
        request = render_request(asked.period, asked.summary, asked.fingerprint, pages)
        self.subject, self.body = request.subject, request.body
        stored: Any = SUPERVISOR_COMMS.send(
            CreateHITLDetailPayload(
                ti_id=context["task_instance"].id,
                options=self.options,
                subject=self.subject,
                body=self.body,
                params=self.serialized_params,
                assigned_users=[],
            )
        )
        is_shown = getattr(stored, "body", None) == self.body
        log.info("waiting for a person: %s", asked.fingerprint)
        if not is_shown:
            log.warning(
                "what would leave has changed since Airflow's text was written: answer on the month's page"
            )
        return is_shown


def _reply(event: dict[str, Any], request_id: int) -> Reply | None:
    if "error" in event:
        if event.get("error_type") != "timeout":
            log.warning("Airflow could not take the answer: %s", event["error"])
        return None
    user = event.get("responded_by_user") or {}
    if not user:
        return None  # a time-out's default, and there is none
    chosen = (event.get("chosen_options") or [""])[0]
    reason = str((event.get("params_input") or {}).get("reason") or "")[:500]
    return Reply(request_id, _ANSWERS.get(chosen), str(user.get("name") or user.get("id")), reason)


def _parked(request_id: int) -> TaskAwaitingInput:
    return TaskAwaitingInput(method_name="execute_complete", kwargs={"request_id": request_id}, timeout=_POLL)
