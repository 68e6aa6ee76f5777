"""Every Prometheus metric of the suite. Labels name parts of the system, never ids of what it holds."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

#: Seconds; from a local read to the longest wait for a verification.
_LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# -- gRPC, as answered (server) and as asked (client); code is the gRPC status' name
RPC_REQUESTS: Final = Counter("yunku_rpc_requests_total", "gRPC calls answered", ["service", "method", "code"])
RPC_SECONDS: Final = Histogram("yunku_rpc_seconds", "Time to answer a gRPC call", ["service", "method"], buckets=_LATENCY_BUCKETS)
RPC_CLIENT_REQUESTS: Final = Counter(
    "yunku_rpc_client_requests_total", "gRPC calls made to other services, retries included", ["peer", "method", "code"]
)
ERRORS: Final = Counter("yunku_errors_total", "Refusals by error code", ["service", "code"])

# -- HTTP, at the gateway; route is the template (/api/v1/certificates/{id}), never the path
HTTP_REQUESTS: Final = Counter("yunku_http_requests_total", "HTTP requests answered", ["method", "route", "status"])
HTTP_SECONDS: Final = Histogram("yunku_http_seconds", "Time to answer an HTTP request", ["method", "route"], buckets=_LATENCY_BUCKETS)

# -- event log, by the service that owns it
APPENDS: Final = Counter("yunku_eventlog_appends_total", "Events appended to the log", ["service"])
APPEND_CONFLICTS: Final = Counter("yunku_eventlog_conflicts_total", "Appends that met a later version of their stream", ["service"])
APPEND_SECONDS: Final = Histogram(
    "yunku_eventlog_append_seconds", "Time of one append, commit included", ["service"], buckets=_LATENCY_BUCKETS
)
SEQUENCED: Final = Gauge("yunku_eventlog_sequenced_position", "Highest position that the sequencer gave", ["service"])
PUBLISHED: Final = Gauge("yunku_eventlog_published_position", "Highest position that JetStream acknowledged", ["service"])
PUBLISHER_LAG: Final = Gauge("yunku_publisher_lag_events", "Positions that JetStream hasn't acknowledged", ["service"])

# -- consumers, by consumer and producer (services' names)
CONSUMER_APPLIED: Final = Counter("yunku_consumer_applied_total", "Events applied", ["consumer", "producer"])
CONSUMER_DUPLICATES: Final = Counter(
    "yunku_consumer_duplicates_total", "Events delivered again after they were applied", ["consumer", "producer"]
)
CONSUMER_RETRIES: Final = Counter("yunku_consumer_retries_total", "Events whose effect failed and is tried again", ["consumer", "producer"])
CONSUMER_LAG: Final = Gauge("yunku_consumer_lag_events", "Events of the producer not applied yet", ["consumer", "producer"])
CONSUMER_POSITION: Final = Gauge(
    "yunku_consumer_position", "Highest position of the producer's log that was applied", ["consumer", "producer"]
)
CONSUMER_REFETCHED: Final = Counter(
    "yunku_consumer_refetched_total", "Events that the stream lost and the producer gave", ["consumer", "producer"]
)
PARKED: Final = Gauge("yunku_consumer_parked", "Dead letters that wait for an operator", ["consumer"])

# -- projections, by name
PROJECTION_POSITION: Final = Gauge("yunku_projection_position", "Position up to which a projection has applied", ["projection"])

# -- work: recognitions, verifications, deliveries; kind is the sort of job, outcome is done, failed or retried
JOBS: Final = Counter("yunku_jobs_total", "Jobs ended", ["kind", "outcome"])
JOB_SECONDS: Final = Histogram("yunku_job_seconds", "Time of a job", ["kind"], buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120))
JOBS_WAITING: Final = Gauge("yunku_jobs_waiting", "Jobs that wait for their turn", ["kind"])

# -- pushes, by domain (a registered party, not an id of what is held) and by what is waited for: delivery, acknowledgement
PUSHES_WAITING: Final = Gauge("yunku_pushes_waiting", "Pending pushes that a domain has not said anything of", ["domain", "stage"])
PUSH_OLDEST_SECONDS: Final = Gauge("yunku_push_oldest_seconds", "How long the oldest of them has waited", ["domain", "stage"])
DOMAIN_CONNECTED: Final = Gauge("yunku_domain_connected", "1 while the link to a domain's NATS account holds", ["domain"])
DOMAIN_ANSWERS: Final = Counter(
    "yunku_domain_answers_total", "Answers of domains' systems; outcome is taken or the refusal's code", ["domain", "outcome"]
)

# -- the process
BACKGROUND_RESTARTS: Final = Counter("yunku_background_restarts_total", "Background loops that failed and were started again", ["loop"])
DEPENDENCY_UP: Final = Gauge("yunku_dependency_up", "1 while a dependency answers", ["dependency"])
