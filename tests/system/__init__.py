"""Tests that need more than Python: a browser, a reverse proxy."""
