"""Other services' events in: ordered consumers with an inbox, parked messages, and the dead-letter stream. See docs/kernel.md."""
