"""Registrations, requests and visits in SQLite; the only room that knows SQL."""
