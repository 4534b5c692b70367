"""Tests of gma.storage."""
