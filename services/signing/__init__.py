"""Seals: a company's electronic signature over a document and its stated values, prepared, completed and validated."""
