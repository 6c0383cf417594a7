"""A small client of Airflow's REST API (v2): what the command line asks of a running Airflow."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from invoicing.domain.errors import InputError, NotFoundError, WorkFailedError

_PAGE = 100
_TIMEOUT_SECONDS = 30.0


class AirflowUnreachableError(WorkFailedError):
    """Nobody answers at Airflow's address."""


class AirflowRefusedError(WorkFailedError):
    """Airflow answered, but did not do it, and said why."""


@dataclass(frozen=True, slots=True)
class DagRun:
    """One run of a DAG."""

    dag_id: str
    dag_run_id: str
    state: str
    partition_key: str | None
    started_at: datetime | None
    ended_at: datetime | None
    note: str | None

    @property
    def is_over(self) -> bool:
        """Whether it will not go on by itself."""
        return self.state in ("success", "failed")


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """One task of a run; one of a mapped task's where ``map_index`` is not -1."""

    task_id: str
    map_index: int
    label: str | None
    state: str | None
    attempts: int
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class ImportFailure:
    """A DAG file that Airflow could not import."""

    file: str
    trace: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Health:
    """The last sign of life of each component that works in the background; None where there was none."""

    database: bool
    scheduler: datetime | None
    dag_processor: datetime | None
    triggerer: datetime | None


class AirflowApi:
    """A session with one Airflow.

    Args:
        url: Where its API server is, for example ``http://127.0.0.1:8080``.
        user: Who to log in as.
        password: Their password.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._login = {"username": user, "password": password}
        self._token: str | None = None
        # A proxy has no business with a server of this machine.
        local = urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")
        self._client = httpx.Client(base_url=self.url, timeout=_TIMEOUT_SECONDS, trust_env=not local)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Log in as ``INVOICING_AIRFLOW_URL``, ``INVOICING_AIRFLOW_USER`` and ``INVOICING_AIRFLOW_PASSWORD`` say.

        Raises:
            InputError: One of them is missing.
        """
        environ = os.environ if environ is None else environ
        names = ("INVOICING_AIRFLOW_URL", "INVOICING_AIRFLOW_USER", "INVOICING_AIRFLOW_PASSWORD")
        missing = [name for name in names if not environ.get(name)]
        if missing:
            raise InputError("airflow_address_missing", names=", ".join(missing))
        return cls(*(environ[name] for name in names))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def trigger(
        self,
        dag_id: str,
        *,
        dag_run_id: str | None = None,
        partition_key: str | None = None,
        params: Mapping[str, Any] | None = None,
        note: str | None = None,
    ) -> str:
        """Start a run of a DAG, and return its id: the one given, else one of Airflow's making."""
        body = {
            "dag_run_id": dag_run_id,
            "logical_date": None,
            "partition_key": partition_key,
            "conf": dict(params or {}),
            "note": note,
        }
        answer = self._change("POST", f"/dags/{_part(dag_id)}/dagRuns", body)
        return str(answer["dag_run_id"])

    def trigger_numbered(
        self,
        dag_id: str,
        name: str,
        *,
        partition_key: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> str:
        """Start a run called ``name`` and the next number that is free, and return its id."""
        taken = {run.dag_run_id for run in self.dag_runs(dag_id)}
        number = 1
        while True:
            dag_run_id = f"{name} {number}"
            number += 1
            if dag_run_id in taken:
                continue
            try:
                return self.trigger(dag_id, dag_run_id=dag_run_id, partition_key=partition_key, params=params)
            except AirflowRefusedError as error:
                # Somebody else has taken the number in between.
                if error.values.get("status") != httpx.codes.CONFLICT:
                    raise

    def dag_run(self, dag_id: str, dag_run_id: str) -> DagRun:
        """A run as it is now."""
        return _dag_run(self._get(_run_path(dag_id, dag_run_id)))

    def dag_runs(self, dag_id: str, *, partition_key: str | None = None) -> list[DagRun]:
        """The runs of a DAG, the latest first; of one partition key where it is given."""
        runs = (
            _dag_run(row)
            for row in self._pages(f"/dags/{_part(dag_id)}/dagRuns", "dag_runs", order_by="-run_after")
        )
        return [run for run in runs if partition_key is None or run.partition_key == partition_key]

    def task_instances(self, dag_id: str, dag_run_id: str) -> list[TaskInstance]:
        """All task instances of a run."""
        path = f"{_run_path(dag_id, dag_run_id)}/taskInstances"
        return [
            TaskInstance(
                task_id=row["task_id"],
                map_index=row["map_index"],
                label=row.get("rendered_map_index"),
                state=row["state"],
                attempts=row["try_number"],
                started_at=_instant(row["start_date"]),
                ended_at=_instant(row["end_date"]),
            )
            for row in self._pages(path, "task_instances", order_by="id")
        ]

    def clear(
        self, dag_id: str, dag_run_id: str, *, only_failed: bool = False, task_ids: list[str] | None = None
    ) -> None:
        """Have tasks of a run done again: all, those that failed, or those named."""
        if task_ids is None:
            body: dict[str, Any] = {"dry_run": False, "only_failed": only_failed}
            self._change("POST", f"{_run_path(dag_id, dag_run_id)}/clear", body)
            return
        self.clear_tasks(dag_id, dag_run_id, task_ids, only_failed=only_failed)

    def clear_tasks(
        self, dag_id: str, dag_run_id: str, task_ids: Sequence[str], *, only_failed: bool
    ) -> list[tuple[str, int]]:
        """Have the named tasks of a run done again; each instance's task and map index."""
        body = {
            "dry_run": False,
            "only_failed": only_failed,
            "dag_run_id": dag_run_id,
            "task_ids": list(task_ids),
        }
        answer = self._change("POST", f"/dags/{_part(dag_id)}/clearTaskInstances", body)
        return [(row["task_id"], row["map_index"]) for row in answer["task_instances"]]

    def is_at_work(self, dag_id: str, dag_run_id: str) -> bool:
        """Whether a run goes on, or is about to."""
        return not self.dag_run(dag_id, dag_run_id).is_over

    def answer(self, dag_id: str, dag_run_id: str, task_id: str, option: str, reason: str) -> None:
        """Answer what a task of a run waits for; nothing where it does not wait, or was answered before."""
        body = {"chosen_options": [option], "params_input": {"reason": reason}}
        path = f"{_run_path(dag_id, dag_run_id)}/taskInstances/{_part(task_id)}/-1/hitlDetails"
        try:
            self._change("PATCH", path, body)
        except NotFoundError:
            return
        except AirflowRefusedError as error:
            if error.values.get("status") != httpx.codes.CONFLICT:
                raise

    def emit_asset_event(self, asset_name: str) -> None:
        """Tell Airflow that an asset changed, so that the DAGs scheduled on it run."""
        rows = self._pages("/assets", "assets", name_pattern=asset_name, order_by="id")
        asset_id = next((row["id"] for row in rows if row["name"] == asset_name), None)
        if asset_id is None:
            raise NotFoundError("airflow_asset_unknown", asset=asset_name)
        self._change("POST", "/assets/events", {"asset_id": asset_id})

    def is_paused(self, dag_id: str) -> bool:
        """Whether a DAG's runs wait until somebody unpauses it."""
        return bool(self._get(f"/dags/{_part(dag_id)}")["is_paused"])

    def unpause(self, dag_id: str) -> None:
        """Let a DAG's runs be scheduled."""
        self._change("PATCH", f"/dags/{_part(dag_id)}", {"is_paused": False})

    def dag_ids(self) -> set[str]:
        """The DAGs that Airflow knows and still finds in its folder."""
        return {row["dag_id"] for row in self._pages("/dags", "dags", order_by="dag_id")}

    def import_errors(self) -> list[ImportFailure]:
        """DAG files that could not be imported."""
        return [
            ImportFailure(row["filename"], row["stack_trace"], datetime.fromisoformat(row["timestamp"]))
            for row in self._pages("/importErrors", "import_errors", order_by="id")
        ]

    def ensure_pool(self, name: str, slots: int, description: str) -> bool:
        """Create a pool where there is none of that name; whether it was created. An existing one is left alone."""
        if any(row["name"] == name for row in self._pages("/pools", "pools", order_by="id")):
            return False
        self._change("POST", "/pools", {"name": name, "slots": slots, "description": description})
        return True

    def health(self) -> Health:
        """Ask once, without a login."""
        answer = self._send("GET", "/api/v2/monitor/health", authorised=False)
        if answer.status_code != httpx.codes.OK:
            raise AirflowUnreachableError("airflow_health_refused", url=self.url, status=answer.status_code)
        parts = answer.json()
        return Health(
            database=parts["metadatabase"]["status"] == "healthy",
            scheduler=_instant(parts["scheduler"]["latest_scheduler_heartbeat"]),
            dag_processor=_instant(parts["dag_processor"]["latest_dag_processor_heartbeat"]),
            triggerer=_instant(parts["triggerer"]["latest_triggerer_heartbeat"]),
        )

    def _get(self, path: str, **query: str | int) -> dict[str, Any]:
        """Read; a server that is gone for a moment is asked again."""
        attempts = Retrying(
            retry=retry_if_exception_type(AirflowUnreachableError),
            stop=stop_after_attempt(4),
            wait=wait_exponential(multiplier=0.3, max=3),
            reraise=True,
        )
        return attempts(self._exchange, "GET", path, None, query)

    def _pages(self, path: str, key: str, **query: str | int) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            rows = self._get(path, limit=_PAGE, offset=offset, **query)[key]
            yield from rows
            if len(rows) < _PAGE:
                return
            offset += _PAGE

    def _change(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask for a change, once: whether a lost answer stood for a change done is not known here."""
        return self._exchange(method, path, body, {})

    def _exchange(
        self, method: str, path: str, body: dict[str, Any] | None, query: Mapping[str, str | int]
    ) -> dict[str, Any]:
        answer = self._send(method, f"/api/v2{path}", body, query)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._token = None  # it has expired
            answer = self._send(method, f"/api/v2{path}", body, query)
        if answer.is_success:
            result: dict[str, Any] = answer.json() if answer.content else {}
            return result
        reason = _reason(answer)
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NotFoundError("airflow_knows_nothing", reason=reason)
        status = answer.status_code
        if status in (502, 503, 504):
            raise AirflowUnreachableError("airflow_unavailable", url=self.url, status=status, reason=reason)
        raise AirflowRefusedError("airflow_refused", method=method, path=path, status=status, reason=reason)

    def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        query: Mapping[str, str | int] | None = None,
        *,
        authorised: bool = True,
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._get_token()}"} if authorised else {}
        try:
            return self._client.request(method, path, json=body, params=query, headers=headers)
        except httpx.TransportError as error:
            raise AirflowUnreachableError("airflow_silent", url=self.url, reason=str(error)) from None

    def _get_token(self) -> str:
        if self._token is None:
            answer = self._send("POST", "/auth/token", self._login, authorised=False)
            if not answer.is_success:
                raise AirflowRefusedError(
                    "airflow_login_refused",
                    user=self._login["username"],
                    status=answer.status_code,
                    reason=_reason(answer),
                )
            self._token = str(answer.json()["access_token"])
        return self._token


def _part(name: str) -> str:
    return quote(name, safe="")


def _run_path(dag_id: str, dag_run_id: str) -> str:
    return f"/dags/{_part(dag_id)}/dagRuns/{_part(dag_run_id)}"


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _dag_run(row: dict[str, Any]) -> DagRun:
    return DagRun(
        dag_id=row["dag_id"],
        dag_run_id=row["dag_run_id"],
        state=row["state"],
        partition_key=row["partition_key"],
        started_at=_instant(row["start_date"]),
        ended_at=_instant(row["end_date"]),
        note=row["note"],
    )


def _reason(answer: httpx.Response) -> str:
    detail: Any = None
    with suppress(ValueError, AttributeError):
        detail = answer.json().get("detail")
    return str(detail or answer.text[:300] or answer.reason_phrase)
