"""gma behind a real nginx, which does TLS for it."""

from __future__ import annotations

import shutil
import socket
from string import Template

from gma.web.pages import texts
from tests.daemon.processes import Program, free_port
from tests.daemon.world import WorldTestCase

_CONFIGURATION = Template("""
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    map $$http_upgrade $$connection_upgrade {
        default upgrade;
        "" "";
    }
    server {
        listen 127.0.0.1:$port ssl;
        server_name localhost;
        ssl_certificate $certificate;
        ssl_certificate_key $certificate;
        location / {
            proxy_pass http://127.0.0.1:$daemon_port;
            proxy_http_version 1.1;
            proxy_set_header Host $$host;
            proxy_set_header Upgrade $$http_upgrade;
            proxy_set_header Connection $$connection_upgrade;
            proxy_set_header X-Forwarded-For $$proxy_add_x_forwarded_for;
        }
    }
}
""")


class NginxTests(WorldTestCase):
    """The public address is nginx's; gma itself speaks plain HTTP to nginx alone."""

    def setUp(self) -> None:
        """Start the daemon, and nginx before it."""
        super().setUp()
        port = free_port()
        self.daemon = self.start_daemon(app_scheme="https", app_hostname=f"localhost:{port}")
        self.daemon.origin = f"https://localhost:{port}"
        self.start_nginx(port)
        self.client = self.connect(self.daemon)
        self.person = self.browser(self.daemon)

    def start_nginx(self, port: int) -> None:
        """Start nginx; it serves on return."""
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
        assert nginx is not None, "nginx is missing"
        configuration = self.folder / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.substitute(
                port=port,
                certificate=self.trust.certificate("localhost"),
                daemon_port=self.daemon.port,
            )
        )
        program = Program(
            [nginx, "-p", str(self.folder), "-c", str(configuration), "-e", "stderr"],
            self.folder / "nginx.log",
        )
        self.addCleanup(program.end)
        program.wait_for(lambda: _listens(port), "nginx on its port")

    def test_login(self) -> None:
        """A person logs in, all of it over TLS, and the app has the token through the proxy."""
        begun = self.client.begin(self.host.authority)
        self.assertEqual(begun["url"], f"{self.daemon.origin}/auth/{begun['id']}")
        page = self.person.log_in(begun["url"])
        done = texts.done("Test app", self.host.authority)
        self.assertEqual((page.status, page.heading), (200, done.title))
        self.assertEqual(self.client.receive_fulfilled()["id"], begun["id"])

    def test_cookie(self) -> None:
        """The browser's secret is bound to this very host, and goes over TLS alone."""
        begun = self.client.begin(self.host.authority)
        cookie = self.person.open(begun["url"]).headers["Set-Cookie"]
        name, _, attributes = cookie.partition("=")
        self.assertEqual(name, f"__Host-gma-{begun['id']}")
        parts = attributes.lower().split("; ")
        for wanted in ("secure", "httponly", "path=/", "samesite=lax"):
            self.assertIn(wanted, parts)
        self.assertNotIn("domain", attributes.lower())

    def test_restart(self) -> None:
        """An app behind the proxy is bidden to come back, and the next login works at once."""
        self.daemon.restart()
        self.assertEqual(self.client.receive_close(), 1012)
        self.client = self.connect(self.daemon)
        self.person.log_in(self.client.begin(self.host.authority)["url"])
        self.client.receive_fulfilled()


def _listens(port: int) -> bool | None:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return None
    return True
