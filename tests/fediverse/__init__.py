"""Tests of gma.fediverse."""
