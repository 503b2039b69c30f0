# One image for every service of docker-compose.yml.
#
#   docker build -t alexsearch .                                      for NVIDIA GPUs: CUDA comes from the lock file
#   docker build -t alexsearch:cpu --build-arg LOCK=requirements-run.lock .    without CUDA
#
# On a GPU host Docker needs the NVIDIA Container Toolkit; the image brings everything else.
FROM python:3.12-slim

ARG LOCK=requirements-run-gpu.lock

# Its own user, with a number one can give to files on the host. /data is the home (--home) and is meant to be a named
# volume, which takes its owner from here when it is new.
RUN useradd --uid 10001 --create-home alexsearch \
    && install --directory --owner=alexsearch --group=alexsearch /data

WORKDIR /app

# The libraries first: they change seldom and are most of the image. Every one is checked against its hash, setuptools
# too, which builds us: without isolation nothing else is fetched for that.
COPY ${LOCK} requirements.lock
RUN pip install --no-cache-dir --require-hashes --requirement requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY model model
COPY search search
COPY studies studies
RUN pip install --no-cache-dir --no-deps --no-build-isolation --no-index .

# utility: nvidia-ml-py, which counts the GPUs, needs the driver's management library beside CUDA's.
ENV ALEXSEARCH_HOME=/data \
    KERAS_HOME=/data/keras \
    MPLCONFIGDIR=/tmp/matplotlib \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONUNBUFFERED=1 \
    TF_CPP_MIN_LOG_LEVEL=2

USER alexsearch
WORKDIR /data

# Only the dashboard listens, so the health check is docker-compose.yml's.
HEALTHCHECK NONE
CMD ["alexsearch", "--help"]
