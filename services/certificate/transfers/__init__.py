"""Many entries at once into the register (imports), and a company's whole record out of it (exports)."""
