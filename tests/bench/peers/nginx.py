"""nginx, twice: as a server of finished files, and as a cache in front of the uplink.

`static` sends the very bytes Packhouse would, compressed beforehand: what this machine can do.
`caching` is what people set up by hand: proxy_cache, links rewritten and gzip on each answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench import processes
from tests.bench.corpus import UPLINK
from tests.bench.peers.peer import Peer, wait
from tests.clients.server import free_port

COMMON = """
worker_processes {cores};
worker_rlimit_nofile 8192;
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  map $http_accept $form {{ default full; ~vnd.npm.install-v1 abbreviated; }}
  map $form $kind {{ full application/json; abbreviated application/vnd.npm.install-v1+json; }}
  {rest}
}}
"""

STATIC = """
  open_file_cache max=10000 inactive=1h;
  open_file_cache_valid 1h;
  server {{
    listen {listen} backlog=4096;
    etag on;
    location / {{
      root {root}/packuments;
      rewrite ^/(?<name>.*)$ /$form/$name.json break;
      types {{ }}
      default_type $kind;
      gzip_static on;
      gzip_vary on;
      add_header Cache-Control "public, max-age=300";
    }}
    location ~ /-/ {{
      root {root}/tarballs;
      types {{ }}
      default_type application/octet-stream;
      add_header Cache-Control "public, max-age=31557600, immutable";
    }}
  }}
"""

CACHING = """
  proxy_cache_path {folder}/cache levels=1:2 keys_zone=npm:32m max_size=2g inactive=1d use_temp_path=off;
  upstream uplink {{ server {uplink}; keepalive 64; }}
  server {{
    listen {listen} backlog=4096;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host {uplink};
    proxy_set_header Accept-Encoding "";
    proxy_cache npm;
    proxy_cache_key $form$request_uri;
    proxy_cache_valid 200 1d;
    proxy_ignore_headers Cache-Control Expires Vary;
    proxy_cache_lock on;
    location / {{
      proxy_pass http://uplink;
      sub_filter_types application/json application/vnd.npm.install-v1+json;
      sub_filter "http://{uplink}" "http://$http_host";
      sub_filter_once off;
      gzip on;
      gzip_proxied any;
      gzip_types application/json application/vnd.npm.install-v1+json;
    }}
    location ~ /-/ {{ proxy_pass http://uplink; }}
  }}
"""  # noqa: E501  the language of nginx has no continuation lines


@contextmanager
def static(program: Path, folder: Path, root: Path) -> Iterator[Peer]:
    """Serve a folder of the corpus's layout."""
    with _serving("nginx static", program, folder, STATIC, root=root) as peer:
        yield peer


@contextmanager
def caching(program: Path, folder: Path) -> Iterator[Peer]:
    """Stand between clients and the uplink."""
    uplink = UPLINK.removeprefix("http://")
    with _serving("nginx proxy_cache", program, folder, CACHING, uplink=uplink) as peer:
        yield peer


@contextmanager
def _serving(name: str, program: Path, folder: Path, rest: str, **facts: object) -> Iterator[Peer]:
    folder.mkdir(parents=True)
    listen = f"127.0.0.1:{free_port()}"
    inner = rest.format(folder=folder, listen=listen, **facts)
    # Workers of root's nginx become another user, who may not read a folder of ours.
    user = "user root;" if os.geteuid() == 0 else ""
    whole = COMMON.format(cores=os.cpu_count(), folder=folder, user=user, rest=inner)
    file = folder / "nginx.conf"
    file.write_text(whole)
    log = folder / "nginx.log"
    with processes.running([str(program), "-p", str(folder), "-c", str(file)], log) as process:
        wait(process, f"http://{listen}", log)
        yield Peer(name, f"http://{listen}", process.pid)
