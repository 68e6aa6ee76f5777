"""The append-only event log of one service: append, order, publish, project, verify. See docs/kernel.md."""
