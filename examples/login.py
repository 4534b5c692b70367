"""Log in at a Mastodon host through gma: python login.py HOST [SOCKET]."""

import json
import sys

from websockets.sync.client import connect

host = sys.argv[1]
gma = sys.argv[2] if len(sys.argv) > 2 else "ws://localhost:8080/ws"

with connect(gma) as socket:
    socket.send(json.dumps({"type": "auth", "parameters": {"host": host}}))
    for frame in socket:
        message = json.loads(frame)
        parameters = message.get("parameters", {})
        if message["type"] == "set-id":
            print("Open this link and log in:", parameters["url"], flush=True)
        elif message["type"] == "fulfill":
            print("Your token for", parameters["host"], "is", parameters["token"])
            break
        elif message["type"] == "invalid-host":
            sys.exit(f"{host} cannot be used: {parameters['description']}")
        elif message["type"] == "error":
            sys.exit(f"No login: {parameters['error_description']}")
