"""A pretend host of the fediverse, as strict as Mastodon, with a switch for each odd behaviour."""
