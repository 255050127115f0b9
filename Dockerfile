# ragd in a container. docs/containers.md tells how to run it, why it is as it is, and what was tried.
#
#   docker build -t ragd .
#   docker run --rm ragd            the demo, as there is no token
#
# No VOLUME, on purpose: Railway refuses a Dockerfile that has one, and an anonymous volume is forgotten with its
# container. Mount /data. No --mount=type=cache either: Railway wants its own service's id in each.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS builder
# g++ and Python's headers: hnswlib comes as source. Versions follow the tag of the base, which is what moves.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
# Else it is compiled with -march=native, for this machine's processor, and dies of SIGILL on an older one.
ENV HNSWLIB_NO_NATIVE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /build
WORKDIR /src
# What ragd requires first, in a layer that a change of ragd itself leaves alone: compiling takes a minute.
COPY requirements.lock ./
RUN /build/bin/python -m pip wheel --wheel-dir /wheels --use-pep517 --require-hashes --requirement requirements.lock
# Building this wheel makes the embedding model, from pinned weights, unless a verified one lies in ragd/model.
COPY setup.cfg pyproject.toml MANIFEST.in README.md LICENSE ./
COPY deploy/supervisord.conf deploy/
COPY modelbuild modelbuild
COPY ragd ragd
RUN /build/bin/python -m pip wheel --no-deps --wheel-dir /wheels .
# From those wheels and nothing else. pip stays behind: nothing is ever installed into a container that runs.
RUN python3 -m venv --without-pip /opt/ragd \
    && /build/bin/python -m pip --python /opt/ragd/bin/python install --no-index --find-links /wheels "ragd[openai,sentry]"

FROM ${BASE}
# libgomp1: hnswlib's OpenMP. ca-certificates: without them nobody can tell Discord from an impostor.
# The user's number is fixed, because volumes and secrets on the host belong to numbers.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libgomp1 python3 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 ragd \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin ragd \
    && install -d -o 10001 -g 10001 -m 0700 /data /run/ragd
COPY --from=builder /opt/ragd /opt/ragd
# RAGD_HTTP_HOST: here loopback is the container's own, and the platform's probe comes from outside it; all that it gets
# without RAGD_HTTP_TOKEN is whether ragd works. RAGD_HTTP_PORT is not set, because it would win over PORT.
ENV PATH=/opt/ragd/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    RAGD_DATA_DIR=/data \
    RAGD_RUNTIME_DIR=/run/ragd \
    RAGD_HTTP_HOST=0.0.0.0
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="ragd" \
    org.opencontainers.image.description="A daemon that remembers a Discord server" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
WORKDIR /data
# By number, so that Kubernetes' runAsNonRoot can see that it is not root.
USER 10001:10001
EXPOSE 9464
STOPSIGNAL SIGTERM
# ragd's own readiness. `|| exit 1`: ragdctl's 2 for "nobody answers" is a code that Docker keeps for itself.
HEALTHCHECK --interval=30s --timeout=10s --start-period=40s --retries=3 \
    CMD ["sh", "-c", "ragdctl ready || exit 1"]
# Becomes supervisord, which as PID 1 reaps whatever is left to it: no tini.
CMD ["ragd"]
