"""A small file system of a test's own, to be filled, made read-only, or torn away as by a power cut."""

import fcntl
import os
import struct
import subprocess
from pathlib import Path

from tests.support.programs import give_up, require_program

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)
_NO_LOG_FLUSH = 2


class SmallDisk:
    """An ext4 in a file, mounted at `path`. Making one needs root and a loop device."""

    def __init__(self, folder: Path, mebibytes: int) -> None:
        if os.geteuid() != 0:
            give_up("mounting a file system needs root")
        self._image = folder / "disk.img"
        self.path = folder / "disk"
        self.path.mkdir()
        with self._image.open("wb") as file:
            file.truncate(mebibytes * 1024 * 1024)
        make = require_program("mkfs.ext4", "apt-get install e2fsprogs")
        subprocess.run([make, "-q", str(self._image)], check=True)
        self.mount()

    def mount(self, options: str = "loop") -> None:
        """Mount it; after a power cut this reads its journal as the next boot would."""
        mount = require_program("mount", "apt-get install mount")
        done = subprocess.run(
            [mount, "-o", options, str(self._image), str(self.path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            give_up(f"a file system cannot be mounted here: {done.stderr.strip()}")

    def unmount(self) -> None:
        """Unmount it, if it is mounted."""
        if self.path.is_mount():
            subprocess.run([require_program("umount", "apt-get install mount"), str(self.path)], check=True)

    def cut_power(self) -> None:
        """Stop every access to the disk at once: what was not synced never reaches it, calls get EIO."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def free_bytes(self) -> int:
        """How much fits."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize
