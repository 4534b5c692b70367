"""The rules: nothing here knows a socket, a file or a URL library."""
