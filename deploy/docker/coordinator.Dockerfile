# The coordinator. Build from the repository's root:
#   docker build -f deploy/docker/coordinator.Dockerfile -t konsil-coordinator:0.1.0 .
# Nothing secret is built in: keys are made by `konsil-server init` in the volume. root/ goes offline after that.
# For a build that can be repeated byte for byte, add the digest of the base image (docker images --digests).
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/konsil
COPY constraints.txt ./
# The CPU build of torch: the coordinator never trains. A bare `torch` would bring gigabytes of CUDA.
RUN /opt/konsil/bin/pip install -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch==2.13.0
COPY pyproject.toml README.md CHANGELOG.md ./
COPY shared ./shared
COPY server ./server
COPY client ./client
COPY simulations ./simulations
RUN /opt/konsil/bin/pip install -c constraints.txt .

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10003 konsil-server \
 && useradd --uid 10003 --gid 10003 --no-create-home --home-dir /var/lib/konsil-server --shell /usr/sbin/nologin konsil-server \
 && install -d -m 0700 -o 10003 -g 10003 /var/lib/konsil-server
COPY --from=build /opt/konsil /opt/konsil
ENV PATH=/opt/konsil/bin:$PATH KONSIL_DIR=/var/lib/konsil-server \
    PYTHONDONTWRITEBYTECODE=1 FLWR_TELEMETRY_ENABLED=0 RAY_USAGE_STATS_ENABLED=0
WORKDIR /var/lib/konsil-server
USER 10003:10003
VOLUME /var/lib/konsil-server
EXPOSE 9092 8443
HEALTHCHECK --interval=60s --timeout=20s --start-period=60s --retries=3 CMD ["konsil-server", "status"]
ENTRYPOINT ["konsil-server"]
CMD ["up"]
