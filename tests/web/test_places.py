"""Links into Airflow."""

import pytest

from invoicing.web.html.airflow_places import run_place, task_place


@pytest.mark.parametrize(
    ("claimed_by", "place"),
    [
        (
            "monthly_invoicing/manual__2026-11-01T00:00:00+00:00_x/send_invoices/7",
            "dags/monthly_invoicing/runs/manual__2026-11-01T00%3A00%3A00%2B00%3A00_x/tasks/send_invoices/mapped/7",
        ),
        (
            "monthly_invoicing/a/b?c/send_invoices/0",
            "dags/monthly_invoicing/runs/a%2Fb%3Fc/tasks/send_invoices/mapped/0",
        ),
        ("monthly_invoicing/run/send_invoices/-1", "dags/monthly_invoicing/runs/run/tasks/send_invoices"),
        ("ana", None),
        ("", None),
        (None, None),
    ],
)
def test_a_delivery_leads_to_the_task_instance_that_held_it(claimed_by: str | None, place: str | None):
    assert task_place(claimed_by) == place


def test_a_run_leads_to_its_page():
    assert run_place("scheduled__2026-11") == "dags/monthly_invoicing/runs/scheduled__2026-11"
