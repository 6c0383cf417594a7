-- Who started a run, as Airflow tells it when the run opens: the month's page says so while it goes on and afterwards.
ALTER TABLE invoicing.cycle_run
    -- The schedule, a backfill, a person in Airflow or on the pages, the command line, an event of an asset; null where nobody told.
    ADD COLUMN started_via text CONSTRAINT cycle_run_start_known CHECK (
        started_via IN ('schedule', 'backfill', 'airflow', 'command', 'asset')),
    -- A name, where a person started it.
    ADD COLUMN started_by text NOT NULL DEFAULT '';
