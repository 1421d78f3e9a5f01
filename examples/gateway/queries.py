"""The report's questions, in SQL over the table `events`: one row an event.

`timestamp` is in ns, `kind` the event class's name, `labels` and `fields` are JSON objects: labels
under their declared names with text values, measured fields under their own names. Label names
have dots in them, hence the quotes in the JSON paths. Percentiles are exact, by nearest rank: the
p-th is the smallest value that p % of the values do not exceed.
"""

ROWS = "SELECT count(*) FROM events"

SPAN = "SELECT count(*), (max(timestamp) - min(timestamp)) / 1e9 FROM events"

REQUESTS = """
WITH requests AS (
    SELECT json_extract(labels, '$."http.request.method"') AS method,
           json_extract(labels, '$."http.route"') AS route,
           CAST(json_extract(labels, '$."http.response.status_code"') AS INTEGER) AS status,
           json_extract(fields, '$.duration') AS seconds
    FROM events
    WHERE kind = 'HttpRequest'
), ranked AS (
    SELECT *,
           row_number() OVER (PARTITION BY method, route ORDER BY seconds) AS rank,
           count(*) OVER (PARTITION BY method, route) AS n
    FROM requests
)
SELECT method, route, n,
       sum(status BETWEEN 400 AND 499),
       sum(status >= 500),
       avg(status >= 400),
       min(seconds) FILTER (WHERE rank * 100 >= n * 50),
       min(seconds) FILTER (WHERE rank * 100 >= n * 95),
       min(seconds) FILTER (WHERE rank * 100 >= n * 99)
FROM ranked
GROUP BY method, route
ORDER BY n DESC, route
"""

LATENCY = """
WITH calls AS (
    SELECT json_extract(labels, '$.provider') AS provider,
           json_extract(labels, '$.model') AS model,
           json_extract(labels, '$.success') = 'true' AS success,
           json_extract(fields, '$.latency') AS seconds
    FROM events
    WHERE kind = 'BackendRequest'
), ranked AS (
    SELECT *,
           row_number() OVER (PARTITION BY provider, model, success ORDER BY seconds) AS rank,
           count(*) OVER (PARTITION BY provider, model, success) AS n
    FROM calls
)
SELECT provider, model,
       count(*),
       avg(NOT success),
       min(seconds) FILTER (WHERE success AND rank * 100 >= n * 50),
       min(seconds) FILTER (WHERE success AND rank * 100 >= n * 95),
       min(seconds) FILTER (WHERE success AND rank * 100 >= n * 99),
       max(seconds) FILTER (WHERE success)
FROM ranked
GROUP BY provider, model
ORDER BY provider, model
"""

FAILURES = """
SELECT json_extract(labels, '$.provider') AS provider,
       json_extract(labels, '$."error.type"') AS error_type,
       count(*)
FROM events
WHERE kind = 'BackendRequest' AND json_extract(labels, '$.success') = 'false'
GROUP BY provider, error_type
ORDER BY provider, count(*) DESC
"""

CACHE = """
WITH operations AS (
    SELECT json_extract(labels, '$."cache.type"') AS cache,
           json_extract(labels, '$."cache.operation"') AS operation
    FROM events
    WHERE kind = 'CacheMetric'
)
SELECT cache,
       sum(operation = 'hit'),
       sum(operation = 'miss'),
       sum(operation = 'eviction'),
       1.0 * sum(operation = 'hit') / nullif(sum(operation IN ('hit', 'miss')), 0)
FROM operations
GROUP BY cache
ORDER BY cache
"""

HEALTH = """
WITH checks AS (
    SELECT timestamp,
           json_extract(labels, '$.backend') AS backend,
           json_extract(fields, '$.healthy') AS healthy
    FROM events
    WHERE kind = 'HealthCheck'
), span AS (
    SELECT min(timestamp) AS started, max(timestamp) - min(timestamp) + 1 AS length FROM checks
)
SELECT backend, (timestamp - started) * :columns / length AS bucket, avg(healthy), count(*)
FROM checks, span
GROUP BY backend, bucket
ORDER BY backend, bucket
"""

TOKENS = """
SELECT json_extract(labels, '$."gen_ai.request.model"') AS model,
       count(*),
       sum(json_extract(fields, '$.tokens_in')),
       sum(json_extract(fields, '$.tokens_out')),
       avg(json_extract(fields, '$.seconds'))
FROM events
WHERE kind = 'LLMCall'
GROUP BY model
ORDER BY count(*) DESC, model
"""

NAMED = """
WITH points AS (
    SELECT name, kind, json_remove(labels, '$."service.name"') AS labels,
           json_extract(fields, '$.value') AS value,
           json_extract(fields, '$.count') AS count,
           json_extract(fields, '$.sum') AS sum
    FROM events
    WHERE name IS NOT NULL
)
SELECT name, labels, kind,
       CASE kind WHEN 'HistogramPoint' THEN sum(count) ELSE count(*) END,
       CASE kind WHEN 'Counter' THEN sum(value) END,
       CASE kind WHEN 'HistogramPoint' THEN sum(sum) / sum(count)
                 WHEN 'Counter' THEN NULL
                 ELSE avg(value) END,
       CASE WHEN kind IN ('Gauge', 'Histogram') THEN max(value) END
FROM points
GROUP BY name, labels, kind
ORDER BY name, labels
"""

KINDS = "SELECT kind, count(*) FROM events GROUP BY kind ORDER BY count(*) DESC, kind"
