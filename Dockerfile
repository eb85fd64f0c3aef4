# Parley in a container: docker run -v parley:/data --env-file .env parley
# With DISCORD_TOKEN or Slack's tokens among the settings; without them it talks at a terminal, which takes docker run -it.
# The version is that of the tests; a release pins the image by digest as well.
FROM python:3.11.14-slim-bookworm

# What the embedded model's server is linked against.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 libstdc++6 \
    && rm -rf /var/lib/apt/lists/*

# Log lines appear as they are written; the source is compiled once, below, because nobody may write beside it later.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# The dependencies change rarely, the source daily: in this order a new build reuses this layer.
COPY requirements/run.txt /tmp/run.txt
RUN python -m pip install --require-hashes --only-binary=:all: --requirement /tmp/run.txt \
    && rm /tmp/run.txt

# The source stays root's and is only read. The migrations lie in store/ and come along.
COPY bot /app/bot
COPY store /app/store
# The volume is the working folder, for a .env; safe path: nothing in it is ever imported.
ENV PYTHONPATH=/app \
    PYTHONSAFEPATH=1
RUN python -m compileall -q /app \
    && printf '#!/bin/sh\nexec python -m bot "$@"\n' > /usr/local/bin/parley \
    && chmod 0755 /usr/local/bin/parley

# One user without rights and one volume: the database, and the weights of an embedded model.
RUN useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin parley \
    && install --directory --owner=parley --group=parley --mode=0700 /data
ENV DATABASE_URL=sqlite:////data/parley.db \
    XDG_CACHE_HOME=/data/cache \
    HOME=/data
# Behind the owner: a volume that is made here takes over what the folder is by now.
VOLUME /data
WORKDIR /data
USER parley

# The web side listens on the container's own loopback. To publish it, for Slack over HTTP or for /metrics, set
# HTTP_HOST=0.0.0.0 and HTTP_TOKEN, and HTTP_NAMES for a proxy. HTTP_PORT belongs into the environment: the check reads it there.
EXPOSE 8080
# The first start fetches the embedded model before it listens; whoever has a model server is healthy after seconds.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10m --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('HTTP_PORT') or 8080), timeout=3); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]

# Running turns get DRAIN_SECONDS (25) after it: give the container a grace of 30 s (docker stop --time 30).
STOPSIGNAL SIGTERM
# Not through a shell, which would keep the signal to itself.
ENTRYPOINT ["python", "-m", "bot"]
CMD ["run"]
