"""A small LLM gateway that measures itself with `trio_batchmetrics`.

    python -m examples.gateway --seconds 20 --database demo.sqlite3

One process, one Trio run, real HTTP on loopback throughout:

    load.py ──▶ app.py ──┬─▶ cache.py
    (httpx2)   (ASGI)    └─▶ proxy.py ────▶ three providers.py   (ASGI, each its own server)
                   │              ▲ routing.py
                   │              └─ health.py asks each provider's /health
                   ▼
               collector ──▶ SQLiteSink ──▶ demo.sqlite3 ──▶ report.py (another process)

Where things live, in the order to read them:

- `__main__`: opens the collector, starts the servers, runs the traffic, prints the report.
- `app`: the gateway itself. It is the ASGI application and where most of the recording is.
- `proxy`, `routing`, `health`, `cache`: what the gateway is made of.
- `events`: the one event class that is the gateway's own.
- `asgi`: the little that plain ASGI and Hypercorn need.
- `providers`, `load`: the world around the gateway: who answers it and who asks it.
- `progress`: `stats()` while the traffic runs.
- `database`: makes room for the file.
- `report`, `queries`: what the file says afterwards, in SQL.
"""
