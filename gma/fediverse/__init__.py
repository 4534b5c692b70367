"""The hosts out there: the only room that makes requests of its own."""
