# The operator: `webevents-operator`. BASE as in dataflows.Dockerfile.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY images/build.lock images/operator.lock ./
RUN python3 -m venv tools && tools/bin/pip install --quiet --require-hashes -r build.lock \
 && python3 -m venv --without-pip /opt/webevents \
 && tools/bin/pip --python /opt/webevents/bin/python install --quiet --only-binary :all: --require-hashes -r operator.lock
COPY dataflows/pyproject.toml dataflows/README.md dataflows/
COPY operator/pyproject.toml operator/README.md operator/
COPY dataflows/src dataflows/src
COPY operator/src operator/src
RUN tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir wheels ./dataflows ./operator \
 && tools/bin/pip --python /opt/webevents/bin/python install --quiet --no-deps wheels/*.whl

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="webevents-operator" \
      org.opencontainers.image.description="Kubernetes operator that brings WebEventPipeline resources about" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/webevents /opt/webevents
ENV PATH=/opt/webevents/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
# Kopf asks for the name of its user, and this one has none in the image.
ENV USER=webevents
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["webevents-operator"]
