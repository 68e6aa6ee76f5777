"""Verdicts: what was stated against what the document shows, field by field, and the light."""
