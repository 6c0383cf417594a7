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
from airflow.sdk import Param, RetryDecision
from airflow.sdk.exceptions import TaskAwaitingInput

from invoicing.domain.approval import OPTIONS
from invoicing.on_airflow.connections import open_database
from invoicing.on_airflow.tasks import NoRetryOfRefusals, TaskRefusedError, task_errors
from invoicing.services.delivery.approvals import Reply, Verdict

log = logging.getLogger(__name__)

_ANSWERS: dict[str, Any] = {
    OPTIONS["approved"]: "approved",
    OPTIONS["rejected"]: "rejected",
    OPTIONS["overtaken"]: None,
}

_POLL = datetime.timedelta(seconds=float(os.environ.get("INVOICING_APPROVAL_POLL_SECONDS", "300")))
# Each time that something changed is a try; so is each failure, and those wait a quarter of an hour at the most.
_TRIES = 200


_REASON = Param(
    "",
    type="string",
    maxLength=500,
    title="Motivo · Reason",
    description="Se guarda con la respuesta. Kept with the answer.",
    source="task",
)


class AskAgainError(TaskRefusedError):
    """What was shown is no longer so: another try shows it as it is now. Airflow keeps what it showed once."""


class _AtOnce(NoRetryOfRefusals):
    """Asks again at once; everything else as usual."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        """Decide on a failed try."""
        if isinstance(exception, AskAgainError):
            return RetryDecision.retry(datetime.timedelta(seconds=1), str(exception))
        return super().evaluate(exception, try_number, max_tries, context)


class ApproveSending(HITLOperator, SkipMixin):
    """Have a person approve what the run is about to send; at once over where nobody has to.

    Rejected, the tasks right behind it are skipped, and what follows by its own trigger rule closes the run.
    """

    inherits_from_skipmixin = True
    # What is shown is put together when the task runs. It is no template.
    template_fields = ()

    def __init__(self, **kwargs: Any) -> None:
        # Airflow hands over the DAG's params and default arguments too: these of the task's own stand.
        own: dict[str, Any] = {
            "params": {"reason": _REASON},
            "retries": _TRIES,
            "retry_policy": _AtOnce(),
        }
        super().__init__(subject="-", options=list(_ANSWERS), **{**kwargs, **own})

    def execute(self, context: Any) -> None:
        """Ask, where somebody has to be asked."""
        verdict = self._look(context, None)
        if verdict.asked is None:
            return self._end(context, verdict)
        from invoicing.rendering.approval import render_request

        pages = f"{(conf.get('api', 'base_url', fallback='') or '').rstrip('/')}/invoicing"
        request = render_request(verdict.asked.period, verdict.asked.summary, pages)
        self.subject, self.body = request.subject, request.body
        try:
            super().execute(context)
        except TaskAwaitingInput as parked:
            raise self._parked(parked.method_name, verdict.asked.id) from None

    def execute_complete(self, context: Any, event: dict[str, Any], request_id: int = 0) -> None:
        """Somebody answered, or it is time to look whether somebody did elsewhere."""
        reply = None
        if "error" not in event:
            user = event.get("responded_by_user") or {}
            given = event.get("params_input") or {}
            if user:
                chosen = (event.get("chosen_options") or [""])[0]
                name = str(user.get("name") or user.get("id"))
                reply = Reply(request_id, _ANSWERS.get(chosen), name, str(given.get("reason") or "")[:500])
        elif event.get("error_type") != "timeout":
            log.warning("Airflow could not take the answer: %s", event["error"])
        verdict = self._look(context, reply)
        if verdict.asked is None:
            return self._end(context, verdict)
        if verdict.asked.id == request_id and "error" in event:
            raise self._parked("execute_complete", request_id)
        raise AskAgainError("what would leave is shown anew", is_final=False)

    def _look(self, context: Any, reply: Reply | None) -> Verdict:
        from invoicing.services.billing import runs
        from invoicing.services.delivery import approvals

        run: Any = context["dag_run"]
        with task_errors(), open_database() as db:
            return approvals.look(db, runs.find_run(db, run.dag_id, run.run_id), reply)

    def _end(self, context: Any, verdict: Verdict) -> None:
        if verdict.state == "send":
            log.info("nobody has to approve anything (any more): sending goes on")
            return
        log.warning("rejected by %s: %s; nothing is sent", verdict.actor, verdict.reason or "-")
        self.skip(ti=context["ti"], tasks=context["task"].get_direct_relatives(upstream=False))

    @staticmethod
    def _parked(method: str, request_id: int) -> TaskAwaitingInput:
        return TaskAwaitingInput(method_name=method, kwargs={"request_id": request_id}, timeout=_POLL)
