"""All that knows Airflow: what its tasks, connections, storage and users are to us, as plain values of ours."""
