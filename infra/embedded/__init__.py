"""The embedded stack: PostgreSQL, nats-server and SeaweedFS (S3) from wheels, with durable settings, on loopback only.

Each server is the real one. A server's module says how it is configured (`prepare`), started (`command`), known to be
ready (`is_ready`) and brought to the state that the services expect (`provision`, idempotent).
"""
