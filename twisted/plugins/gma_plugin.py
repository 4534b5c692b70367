"""Tells twistd that there is a command gma. Names the package and imports none of it."""

from twisted.application.service import ServiceMaker

gma = ServiceMaker("gma", "gma.tap", "The Generic Mastodon Authenticator", "gma")
