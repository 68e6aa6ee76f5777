"""What operators run: the ``yunku`` command, the checker of the invariants, and the generated documents. See docs/operations.md."""
