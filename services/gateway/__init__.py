"""The gateway: HTTP to gRPC. Owns nothing of its own: what it answers, other services know."""
