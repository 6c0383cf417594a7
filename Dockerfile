# The slim image holds Airflow and no other providers: what is installed below is all there is, as locked and tested.
FROM apache/airflow:slim-3.3.2-python3.12

USER root
# Keep in step with RUN_PACKAGES of bin/setup (a test does).
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 libseccomp2 fonts-lato fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o airflow -g root -m 0770 /opt/airflow/state /opt/airflow/logs

USER airflow
COPY --chown=airflow:root requirements.txt constraints.txt /tmp/invoicing/
# FAB brings users and roles; its version is in constraints.txt too.
RUN pip install --no-cache-dir \
        -r /tmp/invoicing/requirements.txt apache-airflow-providers-fab -c /tmp/invoicing/constraints.txt

COPY --chown=airflow:root dags /opt/airflow/dags
COPY --chown=airflow:root plugins /opt/airflow/plugins
COPY --chown=airflow:root include /opt/airflow/include
COPY --chown=airflow:root bin /opt/airflow/bin

ARG REVISION=unknown
ENV INVOICING_PYTHON=python \
    INVOICING_REVISION=${REVISION} \
    INVOICING_STATE=/opt/airflow/state \
    PYTHONPATH=/opt/airflow/plugins
