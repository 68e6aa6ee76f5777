"""gRPC between the services: the server every service answers with, the client to its peers, who calls, and errors."""
