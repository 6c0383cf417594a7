"""Every DAG keeps the house rules."""

import ast
import os
import smtplib
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from invoicing.mail.transmission import Relay
from invoicing.services.delivery.ledger import claim_duration
from support.project import ROOT

DAGS = ROOT / "dags"
FILES = sorted(DAGS.glob("*.py"))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The DAGs as Airflow's parser reads them; the metadata database is not asked."""
    home = tmp_path_factory.mktemp("airflow")
    os.environ["AIRFLOW_HOME"] = str(home)
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(DAGS), collect_dags=True)


def test_all_dags_are_read(bag: Any) -> None:
    assert bag.import_errors == {}
    assert sorted(bag.dags) == [path.stem for path in FILES]


def test_every_dag_and_task_says_what_it_is(bag: Any) -> None:
    for dag in bag.dags.values():
        assert dag.doc_md, dag.dag_id
        assert dag.tags, dag.dag_id
        for task in dag.tasks:
            assert task.doc_md or task.python_callable.__doc__, task.task_id
            assert task.owner == "invoicing", task.task_id


def test_every_dag_is_called_something_and_is_found_by_its_id_and_by_a_tag_of_its_own(bag: Any) -> None:
    """Airflow searches the name that it shows: the id is in it, in words."""
    for dag in bag.dags.values():
        spanish, _, english = dag.dag_display_name.partition(" · ")
        assert spanish, dag.dag_id
        assert english.lower().replace(" ", "_") == dag.dag_id
        others = {tag for other in bag.dags.values() if other is not dag for tag in other.tags}
        assert "invoicing" in dag.tags
        assert len(set(dag.tags) - others) == 1, dag.dag_id


def test_no_dag_bills_a_month_by_being_unpaused(bag: Any) -> None:
    """A past start date would run the last missed tick at once."""
    for dag in bag.dags.values():
        assert dag.start_date is None, dag.dag_id
        assert dag.catchup is False, dag.dag_id


def test_what_talks_to_others_is_retried_with_backoff_and_bounded_by_a_pool(bag: Any) -> None:
    for dag_id in ("monthly_invoicing", "send_new_invoices"):
        dag = bag.dags[dag_id]
        send, render = dag.get_task("send_invoices"), dag.get_task("render_invoices")
        assert (send.partial_kwargs["pool"], render.partial_kwargs["pool"]) == ("smtp", "render")
        assert send.partial_kwargs["retries"] == 6
        assert send.partial_kwargs["retry_exponential_backoff"] == 2.0
        assert send.partial_kwargs["map_index_template"] == "{{ label }}"


def test_the_last_retry_comes_after_the_end_of_a_dead_workers_claim(bag: Any) -> None:
    """Whatever another task's worker held when it was killed is sent by this one's own retries."""
    relay = Relay(smtplib.SMTP, host="relay.example", port=25, messages_per_connection=1)
    claim = claim_duration(relay.longest_doubt_seconds)
    for dag_id in ("monthly_invoicing", "send_new_invoices"):
        send = bag.dags[dag_id].get_task("send_invoices").partial_kwargs
        waits = [
            min(send["retry_delay"] * send["retry_exponential_backoff"] ** retry, send["max_retry_delay"])
            for retry in range(send["retries"])
        ]
        assert sum(waits, timedelta()) > claim + timedelta(minutes=5)  # the sweep's interval


def test_what_a_run_cannot_do_without_is_tried_for_hours(bag: Any) -> None:
    for dag_id, opening in (("monthly_invoicing", "open_cycle"), ("send_new_invoices", "open_run")):
        for task_id in (opening, "check_mail_server"):
            task = bag.dags[dag_id].get_task(task_id)
            waits = [
                min(task.retry_delay * task.retry_exponential_backoff**retry, task.max_retry_delay)
                for retry in range(task.retries)
            ]
            assert max(waits) == timedelta(minutes=30), task_id
            assert timedelta(hours=3) < sum(waits, timedelta()) < timedelta(hours=5), task_id


def test_a_tick_that_was_missed_is_made_up_for_within_a_day(
    bag: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one too: a scheduler that comes to it a second late must not skip to the next month."""
    import pendulum
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables import trigger
    from airflow.timetables.base import DagRunInfo, TimeRestriction

    timetable = DagSerialization.from_dict(DagSerialization.to_dict(bag.dags["monthly_invoicing"])).timetable

    def due(now: str, last: str | None = None) -> tuple[str, str | None]:
        """When the next scheduled run is due, and its partition key."""
        monkeypatch.setattr(trigger, "utcnow", lambda: pendulum.parse(now))
        run = None
        if last:
            at = pendulum.parse(last)
            run = DagRunInfo(run_after=at, data_interval=None, partition_date=at, partition_key="2026-11")
        found = timetable.next_dagrun_info_v2(
            last_dagrun_info=run, restriction=TimeRestriction(None, None, catchup=False)
        )
        return found.run_after.in_timezone("America/Bogota").format("YYYY-MM-DD HH:mm"), found.partition_key

    assert due("2026-12-01T06:00:01-05:00") == ("2026-12-01 06:00", "2026-12")
    assert due("2026-12-02T05:59:00-05:00") == ("2026-12-01 06:00", "2026-12")
    # A new installation in mid-month begins with the next month.
    assert due("2026-12-02T06:01:00-05:00") == ("2027-01-01 06:00", "2027-01")
    # One that ran before makes up for the newest tick, however late.
    assert due("2026-12-20T12:00:00-05:00", last="2026-11-01T06:00:00-05:00") == (
        "2026-12-01 06:00",
        "2026-12",
    )


def test_the_form_asks_for_the_month_in_one_place(bag: Any) -> None:
    params = bag.dags["monthly_invoicing"].params
    assert list(params) == ["period", "confirm_month"]
    period = params.get_param("period")
    assert period.schema["title"] == "Month to bill"
    assert "The one field to fill in here" in period.description
    params["confirm_month"] = "2026-08, 2026-09"
    params.validate()


def test_the_monthly_dag_is_wired_as_designed(bag: Any) -> None:
    dag = bag.dags["monthly_invoicing"]
    downstream = {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks}
    assert downstream["choose_path"] == ["select_recipients", "sending_disabled"]
    assert downstream["count_invoices"] == ["select_recipients", "sending_disabled"]
    assert downstream["generate_invoices"] == ["count_invoices"]
    assert downstream["render_invoices"] == ["approve_sending"]
    assert downstream["approve_sending"] == ["check_mail_server", "list_unmailed"]
    assert downstream["send_invoices"] == ["close_cycle", "render_unmailed"]
    assert downstream["sending_disabled"] == ["close_cycle", "list_unmailed"]
    assert downstream["list_unmailed"] == ["close_cycle", "render_unmailed"]
    assert downstream["close_cycle"] == []
    assert dag.get_task("close_cycle").trigger_rule == "all_done"
    assert dag.timetable.__class__.__name__ == "CronPartitionTimetable"
    # Rejected, the check is skipped whatever else went well, and so is what follows it.
    assert dag.get_task("check_mail_server").trigger_rule == "all_success"
    assert dag.get_task("approve_sending").trigger_rule == "all_done_min_one_success"
    assert (
        bag.dags["send_new_invoices"].get_task("check_mail_server").trigger_rule == "all_done_min_one_success"
    )


class Instance(NamedTuple):
    task_id: str
    state: str


@pytest.mark.parametrize(
    ("dag_id", "closing"), [("monthly_invoicing", "close_cycle"), ("send_new_invoices", "close_run")]
)
def test_what_nobody_is_mailed_is_made_after_the_mail_and_decides_nothing_of_the_run(
    bag: Any, dag_id: str, closing: str
) -> None:
    """As the scheduler reads the graph: by the closing task alone."""
    from airflow.models.dagrun import DagRun
    from airflow.serialization.serialized_objects import DagSerialization

    dag = DagSerialization.from_dict(DagSerialization.to_dict(bag.dags[dag_id]))
    made = dag.get_task("render_unmailed")
    assert made.upstream_task_ids >= {"send_invoices", "list_unmailed"}
    assert made.downstream_task_ids == set()
    assert (made.trigger_rule, made.pool) == ("all_done_setup_success", "render")

    states = [Instance(task.task_id, "success") for task in dag.tasks]
    deciding = DagRun._tis_for_dagrun_state(DagRun(), dag=dag, tis=states)
    assert {each.task_id for each in deciding} == {closing}
    # The mail waits for none of it.
    ahead = {task.task_id for task in dag.get_task("send_invoices").get_flat_relatives(upstream=True)}
    assert not ahead & {"list_unmailed", "render_unmailed"}


def test_no_time_out_of_airflows_answers_for_a_person(bag: Any) -> None:
    task = bag.dags["monthly_invoicing"].get_task("approve_sending")
    assert task.defaults is None
    assert task.options == ["Approve", "Reject", "Look again"]
    assert list(task.params) == ["reason"]
    # Whoever approves need not say why.
    assert "null" in task.params.get_param("reason").schema["type"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dag_file_is_wiring_only(path: Path) -> None:
    """It imports Airflow's SDK, our adapter and our services, and the heavy ones not when it is parsed."""
    tree = ast.parse(path.read_text())
    top_level = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    everywhere = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]

    def modules(nodes: list[ast.Import | ast.ImportFrom]) -> set[str]:
        return {
            name
            for node in nodes
            for name in (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
        }

    def ours(names: set[str]) -> set[str]:
        """Packages of the project; ``invoicing.services.delivery`` is one of ``invoicing.services``."""
        return {".".join(name.split(".")[:2]) for name in names if name.startswith("invoicing.")}

    assert ours(modules(top_level)) <= {"invoicing.on_airflow"}
    assert ours(modules(everywhere)) <= {"invoicing.on_airflow", "invoicing.services"}
    others = {name for name in modules(everywhere) if not name.startswith("invoicing.")}
    assert others <= {"airflow.sdk", "datetime", "typing"}
