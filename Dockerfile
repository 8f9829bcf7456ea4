# Stages: build-* install into /opt/lungwatch, runtime and gpu are what runs. Validated by tests, see docs/runbook.md.
FROM python:3.11-slim-bookworm AS build-base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/lungwatch
ENV PATH=/opt/lungwatch/bin:$PATH
WORKDIR /build
COPY requirements/ requirements/
# the build tool comes from the same lock as everything else
RUN awk '/^setuptools==/{on=1} on{print} on&&!/\\$/{exit}' requirements/dev.txt > requirements/build.txt \
    && pip install --require-hashes --requirement requirements/build.txt

FROM build-base AS build-cpu
RUN pip install --require-hashes --requirement requirements/runtime.txt
COPY . .
RUN pip install --no-deps --no-build-isolation .

FROM build-base AS build-gpu
RUN pip install --require-hashes --requirement requirements/gpu.txt
COPY . .
RUN pip install --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm AS bare
# mount points belong to the user that runs: a new volume takes their ownership
RUN groupadd --gid 10001 lungwatch \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin lungwatch \
    && install --directory --owner=lungwatch --group=lungwatch --mode=0750 /data /bundles
ENV PATH=/opt/lungwatch/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    LUNGWATCH_DATA_DIR=/data LUNGWATCH_BUNDLE_DIR=/bundles
WORKDIR /tmp
USER 10001:10001
EXPOSE 11112

FROM bare AS gpu
COPY --from=build-gpu /opt/lungwatch /opt/lungwatch
CMD ["lungwatch", "work"]

FROM bare AS runtime
COPY --from=build-cpu /opt/lungwatch /opt/lungwatch
CMD ["lungwatch", "serve"]
