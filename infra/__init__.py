"""How the suite is run: the embedded servers, their provisioning, the supervisor, and what tests start."""
