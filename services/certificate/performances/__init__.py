"""Performances 业绩: finished project sections, proved by certificates of this service. The same rooms as the service's own."""
