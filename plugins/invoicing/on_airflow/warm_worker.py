"""Imported by Celery's worker before it forks: what tasks import is there when they begin, as in `warm_executor`."""

from invoicing.on_airflow.warm_executor import warm_up

warm_up()
