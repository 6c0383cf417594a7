"""Pages and JSON API: a FastAPI app that Airflow mounts under ``/invoicing``."""
