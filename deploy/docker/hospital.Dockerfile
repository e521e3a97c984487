# A hospital: one image, run twice as two users (deploy/compose/hospital.yaml). Build from the repository's root:
#   docker build -f deploy/docker/hospital.Dockerfile -t konsil-hospital:0.1.0 .
# GPU: build with --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 and read the note in hospital.yaml.
# Nothing secret is built in: keys are made by `konsil-client join` in the volumes.
# For a build that can be repeated byte for byte, add the digest of the base image (docker images --digests).
FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/konsil
COPY constraints.txt ./
RUN /opt/konsil/bin/pip install -c constraints.txt --index-url "$TORCH_INDEX" torch==2.13.0
COPY pyproject.toml README.md CHANGELOG.md ./
COPY shared ./shared
COPY server ./server
COPY client ./client
COPY simulations ./simulations
RUN /opt/konsil/bin/pip install -c constraints.txt .

FROM python:3.11-slim-bookworm
# The two users share no group. /run/konsil belongs to the agent, who makes the socket; the network side may enter it only.
# A new named volume takes owner and mode from these folders.
RUN groupadd --gid 10001 konsil && groupadd --gid 10002 konsil-net \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/konsil --shell /usr/sbin/nologin konsil \
 && useradd --uid 10002 --gid 10002 --no-create-home --home-dir /var/lib/konsil-node --shell /usr/sbin/nologin konsil-net \
 && install -d -m 0700 -o 10001 -g 10001 /var/lib/konsil \
 && install -d -m 0700 -o 10002 -g 10002 /var/lib/konsil-node \
 && install -d -m 0711 -o 10001 -g 10001 /run/konsil
COPY --from=build /opt/konsil /opt/konsil
ENV PATH=/opt/konsil/bin:$PATH KONSIL_HOME=/var/lib/konsil KONSIL_NODE_HOME=/var/lib/konsil-node \
    PYTHONDONTWRITEBYTECODE=1 FLWR_TELEMETRY_ENABLED=0 RAY_USAGE_STATS_ENABLED=0
WORKDIR /var/lib/konsil
USER 10001:10001
# Asks the agent; hospital.yaml has another one for the network side, whom the agent answers nothing but its own.
HEALTHCHECK --interval=60s --timeout=20s --start-period=90s --retries=3 \
    CMD ["konsil-client", "status", "--socket", "/run/konsil/agent.sock"]
ENTRYPOINT ["konsil-client"]
CMD ["agent", "--socket", "/run/konsil/agent.sock"]
