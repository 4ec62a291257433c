# The service: docker build -t nearnext:0.1.0 . && docker run -p 8000:8000 -v "$PWD/out/demo:/models:ro" nearnext:0.1.0
# The folder that holds the model is mounted, not the model itself: a new one that replaces it would not be seen.
# Pin the base image by its digest: --build-arg PYTHON_IMAGE=python:3.11-slim@sha256:..., which is what
# docker buildx imagetools inspect python:3.11-slim --format '{{.Manifest.Digest}}' prints where the registry is in reach.
ARG PYTHON_IMAGE=python:3.11-slim
FROM ${PYTHON_IMAGE} AS build
# Where torch is without what a graphics card needs: a service computes on the processor. Add "#sha256=..." of your wheel
# to TORCH where you give its URL: pip then checks it. All else is checked by the hashes of deploy/requirements.lock, which
# deploy/lock.py makes for one version of Python and one kind of processor.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH=torch==2.13.0
WORKDIR /src
COPY deploy/requirements.lock ./
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/nearnext \
 && /opt/nearnext/bin/pip install --no-deps --only-binary :all: --require-hashes -r requirements.lock \
 && /opt/nearnext/bin/pip install --no-deps --only-binary :all: --index-url "$TORCH_INDEX" "$TORCH"
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
# The lock is of these extras; --no-deps would let a missing package pass, so pip checks what is installed.
RUN /opt/nearnext/bin/pip install --no-deps '.[train,serve,ann,onnx]' && /opt/nearnext/bin/pip check

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --create-home nearnext && install -d -o nearnext -g nearnext /data /var/cache/nearnext
COPY --from=build /opt/nearnext /opt/nearnext
ENV PATH=/opt/nearnext/bin:$PATH OMP_NUM_THREADS=1 NUMBA_CACHE_DIR=/var/cache/nearnext PYTHONDONTWRITEBYTECODE=1
# By number: Kubernetes cannot tell that a name is not root.
USER 10001
# The image brings the compiled code; on another processor, or where the folder is read-only, it is compiled once more.
RUN nearnext --quiet warm
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
ENTRYPOINT ["nearnext", "--quiet"]
CMD ["serve", "/models/model", "--host=0.0.0.0", "--catalogue=/data/catalogue"]
