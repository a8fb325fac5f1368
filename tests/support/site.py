"""An instance whose directory is copied, lost and put back."""

import json
import shutil
import signal
import subprocess
from pathlib import Path

import urllib3

from hallmark.wiring.layout import Layout
from tests.support.instance import HALLMARK, RunningInstance
from tests.support.load import entry_request

LOGS = ("tlog", "ctlog")


class Site:
    """An instance, the files signed with it, and mirrors of its logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.mirror = folder / "mirror"
        self.running: RunningInstance | None = RunningInstance(self.data, folder)
        self.base_url = self.running.base_url
        self.tool = self.running

    def sign(self, name: str) -> None:
        file = self.folder / name
        file.write_text(name)
        self.tool.run(
            "sign", "--instance", self.base_url, "--identity-token", self.running.token(), str(file)
        )

    def verify(self, name: str) -> None:
        who = ("--identity", "alice@example.com", "--issuer", f"{self.base_url}/oidc")
        trust = ("--trusted-root", str(self.data / "client" / "trusted_root.json"))
        self.tool.run("verify", str(self.folder / name), *who, *trust)

    def copy_to_mirror(self) -> None:
        trust = ("--trusted-root", str(self.data / "client" / "trusted_root.json"))
        for log in LOGS:
            source = str(Layout(self.data).public(log))
            self.tool.run("log", "mirror", source, str(self.mirror / log), *trust)

    def stop(self) -> None:
        if self.running is not None:
            assert self.running.stop() == 0
            self.running = None

    def start(self, *options: str) -> None:
        self.running = self.tool = RunningInstance(self.data, self.folder, *options, listen=None)

    def refused(self, *options: str) -> str:
        """Try to start it; gives the code of the refusal."""
        return self.refusal(*options)["code"]

    def refusal(self, *options: str) -> dict:
        """Try to start it; gives the error."""
        command = [*HALLMARK, "up", "--data", str(self.data), "--json", *options]
        with subprocess.Popen(command, env=self.tool.environment, stdout=subprocess.PIPE) as process:
            answer = json.loads(process.stdout.readline())
            if answer["ok"]:
                process.send_signal(signal.SIGINT)
        assert not answer["ok"], "it starts"
        assert process.returncode == 5
        return answer["error"]

    def restore(self, *options: str) -> dict:
        done = self.tool.run("log", "restore", "--data", str(self.data), "--json", *options, check=False)
        answer = json.loads(done.stdout)
        assert done.returncode == (0 if answer["ok"] else answer["error"]["exitCode"])
        return answer

    def asking(self, *mirrors: str) -> tuple[str, str]:
        """Write settings that name these mirrors; gives the options for them."""
        path = self.folder / "settings.toml"
        path.write_text(f"mirrors = {list(mirrors)}\n")
        return "--config", str(path)

    def sizes(self) -> dict[str, int]:
        done = self.tool.run("log", "fsck", "--data", str(self.data), "--json")
        return {name: log["size"] for name, log in json.loads(done.stdout)["logs"].items()}

    def put_back(self, backup: Path) -> None:
        """Lose the disk, and put the backup in its place."""
        shutil.rmtree(self.data)
        shutil.copytree(backup, self.data)


def fill(site: Site, count: int) -> list[bytes]:
    """Append entries; returns their requests."""
    requests = [entry_request() for _ in range(count)]
    with urllib3.PoolManager() as pool:
        for request in requests:
            url = f"{site.base_url}/api/v2/log/entries"
            assert pool.request("POST", url, body=request).status == 201
    return requests


def mirror_all(site: Site) -> None:
    """Mirror the instance as a whole, from its directory."""
    site.tool.run("log", "mirror", str(site.data), str(site.mirror))
