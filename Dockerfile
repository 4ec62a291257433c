# The service: docker build -t nearnext:0.1.0 . && docker run -p 8000:8000 -v "$PWD/out/demo:/models:ro" nearnext:0.1.0
# The folder that holds the model is mounted, not the model itself: a new one that replaces it would not be seen.
FROM python:3.11-slim AS build
# Where torch is without what a graphics card needs: a service computes on the processor.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/nearnext \
 && /opt/nearnext/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt \
    --extra-index-url "$TORCH_INDEX" '.[serve,ann,onnx]'

FROM python:3.11-slim
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
