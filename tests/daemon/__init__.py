"""Tests of the daemon as its users start it, from outside."""
