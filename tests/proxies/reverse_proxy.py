"""Starts real reverse proxies: unprivileged, in the foreground, with the configuration that their manuals begin with,
so with buffering as it comes."""

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

DEADLINE = 30.0

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {more}
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""

PLAIN_NGINX = NGINX.replace("{location}", "location / {{ proxy_pass http://127.0.0.1:{target}; }}")

HAPROXY = """
global
    maxconn 200
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend edge
    bind 127.0.0.1:{port}
    {more}
    default_backend service
backend service
    server one 127.0.0.1:{target}
"""

GZIP = "gzip on; gzip_proxied any; gzip_min_length 1; gzip_http_version 1.0;"
GZIP_TYPES = "gzip_types text/plain text/css text/xml application/json application/javascript;"
COMPRESSION = "compression algo gzip\n    compression type text/event-stream application/json text/plain"

# Without the first HAProxy holds each piece of a chunked body back for up to 0.2 s, in the hope of more; without the second
# it takes a client that leaves for one that has only said its last word, until something can't be written to it.
ADVISED = "option http-no-delay\n    option abortonclose"


def _advised_location():
    """The README's own snippet, to the letter."""
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    snippet = re.search(r"^    location / \{$.*?^    \}$", readme, re.DOTALL | re.MULTILINE)
    assert snippet, "the README has no nginx snippet"
    assert "127.0.0.1:8080" in snippet[0]
    return snippet[0].replace("127.0.0.1:8080", "127.0.0.1:{target}").replace("{\n", "{{\n").replace("    }", "    }}")


# name: (the program, its configuration, what is added to it)
KINDS = {
    "nginx": ("nginx", PLAIN_NGINX, ""),
    "nginx-advised": ("nginx", NGINX.replace("{location}", _advised_location()), ""),
    "nginx-gzip": ("nginx", PLAIN_NGINX, GZIP + GZIP_TYPES),
    # Compresses whatever it is told not to transform.
    "nginx-gzip-everything": ("nginx", PLAIN_NGINX, GZIP + "gzip_types *;"),
    "haproxy": ("haproxy", HAPROXY, ""),
    "haproxy-compression": ("haproxy", HAPROXY, COMPRESSION),
    "haproxy-advised": ("haproxy", HAPROXY.replace("mode http", "mode http\n    " + ADVISED), ""),
}

# As many sites run them: all clients share few connections to the server.
SHARED_NGINX = NGINX.replace("{more}", "{more}\n    upstream service {{ server 127.0.0.1:{target}; keepalive 1; }}").replace(
    "{location}",
    'location / {{ proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection ""; }}',
)
SHARED_HAPROXY = HAPROXY.replace("maxconn 200", "maxconn 200\n    nbthread 1").replace(
    "mode http", "mode http\n    http-reuse always"
)
SHARED = {"nginx-shared": ("nginx", SHARED_NGINX, ""), "haproxy-shared": ("haproxy", SHARED_HAPROXY, "")}


def _program(name):
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    assert found, f"{name} is not installed; tests/run does it"
    return found


class ReverseProxy:
    """A running reverse proxy in front of a port."""

    def __init__(self, kind, folder, target):
        name, config, more = (KINDS | SHARED)[kind]
        # Neither of the two can say which free port it got, so one is picked here; should another program take it in
        # between, the next one is tried.
        for _ in range(5):
            with socket.create_server(("127.0.0.1", 0)) as unused:
                self.port = unused.getsockname()[1]
            file = folder / f"{name}.conf"
            file.write_text(config.format(folder=folder, port=self.port, target=target, more=more))
            arguments = ["-p", folder, "-c", file, "-e", "stderr"] if name == "nginx" else ["-db", "-f", file]
            self.process = subprocess.Popen(
                [_program(name), *arguments], stdin=subprocess.DEVNULL, stderr=(folder / "log").open("w")
            )
            if self._listens():
                return
        raise AssertionError(f"{name} did not start: {(folder / 'log').read_text()}")

    def _listens(self):
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return True
            except OSError:
                time.sleep(0.02)
        self.stop()
        return False

    def stop(self):
        self.process.kill()
        self.process.wait(DEADLINE)
