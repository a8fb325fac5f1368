"""nginx in front of an instance, set up as its users write it."""

import grp
import os
import pwd
import socket
import subprocess
import time
from pathlib import Path

from tests.support.programs import require_program

_CONFIG = """
daemon off;
user nobody {group};
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""


_GROUP = pwd.getpwnam("nobody").pw_gid


def let_in(folder: Path) -> None:
    """Let nginx's workers into a folder, as its group: started by root, they are another user's."""
    if os.geteuid() == 0:
        os.chown(folder, -1, _GROUP)
    folder.chmod(0o750)


class Nginx:
    """A proxy on `port`, with these locations; it serves when this returns."""

    def __init__(self, folder: Path, port: int, locations: str) -> None:
        program = require_program("nginx", "apt-get install nginx-light")
        folder.mkdir()
        config = folder / "nginx.conf"
        group = grp.getgrgid(_GROUP).gr_name
        config.write_text(_CONFIG.format(folder=folder, group=group, port=port, locations=locations))
        command = [program, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
        self._process = subprocess.Popen(command)
        while self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.01)
        raise AssertionError((folder / "error.log").read_text())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


def free_port() -> int:
    """A port that nobody has; another may take it meanwhile."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
