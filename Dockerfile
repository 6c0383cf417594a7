# The slim image holds Airflow and no other providers: what is installed below is all there is, as locked and tested.
# By digest: bin/pin-images AIRFLOW_IMAGE
ARG AIRFLOW_IMAGE=apache/airflow:slim-3.3.2-python3.12
FROM ${AIRFLOW_IMAGE}

USER root
# Keep in step with RUN_PACKAGES of bin/setup (a test does).
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 libseccomp2 fonts-lato fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o airflow -g root -m 0770 /opt/airflow/state /opt/airflow/logs

USER airflow
COPY --chown=airflow:root constraints-image.txt /tmp/invoicing/
# Each file that is downloaded is the one that was locked: without its hash nothing is installed.
RUN pip install --no-cache-dir --no-deps --require-hashes -r /tmp/invoicing/constraints-image.txt

COPY --chown=airflow:root dags /opt/airflow/dags
COPY --chown=airflow:root plugins /opt/airflow/plugins
COPY --chown=airflow:root include /opt/airflow/include
COPY --chown=airflow:root bin /opt/airflow/bin
# The root of a container is read-only: bytecode is made here, and Airflow finds a configuration file that it need not write.
RUN python -m compileall -q /opt/airflow/dags /opt/airflow/plugins && : >/opt/airflow/airflow.cfg

ARG REVISION=unknown
ENV INVOICING_PYTHON=python \
    INVOICING_REVISION=${REVISION} \
    INVOICING_STATE=/opt/airflow/state \
    PYTHONPATH=/opt/airflow/plugins \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp/cache
