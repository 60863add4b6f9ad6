# The wheels of confluent-kafka are built for glibc: a slim Debian, not Alpine.
FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /venv
COPY pyproject.toml README.md LICENSE ./
COPY lamplighter lamplighter
RUN /venv/bin/pip install --no-cache-dir '.[redis,postgresql]'

FROM python:3.13-slim
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 10001 lamplighter
WORKDIR /app
COPY --from=build /venv /venv
COPY artisan.py ./
COPY app app
COPY bootstrap bootstrap
COPY config config
COPY database database
# The only folder that is written to: heartbeats, the file cache, maintenance mode.
RUN mkdir -p storage/framework storage/logs && chown -R lamplighter: storage
USER lamplighter
CMD ["python", "artisan.py", "queue:work", "kafka"]
