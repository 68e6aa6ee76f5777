"""The OCR service: reads pages and marked regions, and scores what was stated against what is printed."""
