"""Tests of gma, in rooms like the code they test."""
