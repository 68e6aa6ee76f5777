"""Domains, pushes and reviews: what companies send to the authorities, and what these decide."""
