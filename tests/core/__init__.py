"""Tests of gma.core."""
