"""gma, the Generic Mastodon Authenticator: logs an app's users in at any Mastodon host."""

__version__ = "0.1.0.dev0"
