# The service: docker build -t nearnext:0.1.0 . && docker run -p 8000:8000 -v "$PWD/out/demo:/data" nearnext:0.1.0
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/nearnext \
 && /opt/nearnext/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt '.[serve]'

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home nearnext
COPY --from=build /opt/nearnext /opt/nearnext
ENV PATH=/opt/nearnext/bin:$PATH OMP_NUM_THREADS=1 NUMBA_CACHE_DIR=/tmp/numba PYTHONDONTWRITEBYTECODE=1
USER nearnext
EXPOSE 8000
HEALTHCHECK --interval=10s --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
ENTRYPOINT ["nearnext", "--quiet"]
CMD ["serve", "/data/model", "--host", "0.0.0.0"]
