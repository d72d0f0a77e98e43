# The workloads of pipelines: stages and sources, `webevents`.
# BASE is any image with Python 3.11 or 3.12, its venv module and CA certificates; name it with a
# digest where builds must repeat.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY images/build.lock images/dataflows.lock ./
RUN python3 -m venv tools && tools/bin/pip install --quiet --require-hashes -r build.lock \
 && python3 -m venv --without-pip /opt/webevents \
 && tools/bin/pip --python /opt/webevents/bin/python install --quiet --only-binary :all: --require-hashes -r dataflows.lock
COPY dataflows/pyproject.toml dataflows/README.md dataflows/
COPY dataflows/src dataflows/src
RUN tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir wheels ./dataflows \
 && tools/bin/pip --python /opt/webevents/bin/python install --quiet --no-deps wheels/*.whl

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="webevents" \
      org.opencontainers.image.description="Web events enriched, sessionised and delivered: the dataflows" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/webevents /opt/webevents
ENV PATH=/opt/webevents/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
WORKDIR /tmp
USER 10001:10001
# As the first process of a container Bytewax does not end at SIGTERM.
STOPSIGNAL SIGINT
ENTRYPOINT ["webevents"]
