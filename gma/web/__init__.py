"""The web edge: the socket, the pages and the addresses they are asked for at."""
