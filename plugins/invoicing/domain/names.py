"""Names that Airflow, the command line and the pages share: each is written here and nowhere else."""

MONTHLY_DAG = "monthly_invoicing"
SINGLE_INVOICES_DAG = "send_new_invoices"
SWEEP_DAG = "sweep_deliveries"

APPROVAL_TASK = "approve_sending"
"""Waits for a person, in `MONTHLY_DAG`."""

INVOICES_ASSET = "invoices"
"""An event of it starts `SINGLE_INVOICES_DAG`."""

DATABASE_CONNECTION = "invoicing_db"
RELAY_CONNECTION = "invoicing_smtp"
ARCHIVE_CONNECTION = "invoicing_archive"
"""Of an object store: ``INVOICING_ARCHIVE=s3://invoicing_archive@BUCKET/FOLDER``."""

SENDING_POOL = "smtp"
RENDERING_POOL = "render"

STARTED_BY = "started_by"
"""In a DAG run's conf: who started it on the command line, which Airflow knows under one user of its own."""
