"""The recognition processes: engines run apart from the service, one thread and one page at a time each.

``child`` is what runs there; ``pool`` is the service's side; ``wire`` is what goes over the pipes between them.
"""
