"""The main job, run from outside against a running suite: an operator, a domain's system and a reviewer.

Uses HTTP and NATS only, as docs/http-api.md promises them; imports nothing of the suite but the generator of samples.
"""
