"""Writes the file system of the emulated board: a cpio archive in the kernel's "newc" format."""

import os
import re
from pathlib import Path

APPLETS = "sh mount insmod echo stty mkdir kill poweroff".split()


class Archive:
    """A cpio archive (Linux's Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self, path):
        self.file = open(path, "wb")
        self.names = set()

    def entry(self, name, mode, data=b"", device=(0, 0)):
        """One file; folders above it are made."""
        for parent in reversed(Path(name).parents[:-1]):
            if str(parent) not in self.names:
                self.entry(str(parent), 0o040755)
        self.names.add(name)
        text = name.encode() + b"\0"
        fields = (len(self.names), mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(text), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        for part in (header + text, data):
            self.file.write(part + b"\0" * (-len(part) % 4))

    def copy(self, source, name, mode=0o100644):
        self.entry(name, mode, Path(source).read_bytes())

    def close(self):
        self.entry("TRAILER!!!", 0)
        self.file.close()


def module_files(root, wanted):
    """Files of kernel modules and of those that they need, in the order in which they are loaded."""
    (tree,) = (root / "lib/modules").iterdir()
    name_of = lambda path: Path(path).stem.replace("-", "_")
    files = {name_of(path): path for path in tree.rglob("*.ko")}
    builtin = {name_of(line) for line in (tree / "modules.builtin").read_text().split()}
    order = []

    def need(name):
        name = name.replace("-", "_")
        if name in builtin or name in order:
            return
        if name not in files:
            raise SystemExit(f"virtual-device: Debian's kernel has no module {name} any more")
        depends = re.search(rb"\0depends=([^\0]*)\0", files[name].read_bytes())
        for other in depends[1].decode().split(",") if depends else []:
            if other:
                need(other)
        order.append(name)

    for name in wanted:
        need(name)
    return [(name, files[name]) for name in order]


def write(path, root, init, guest, program, libraries, bundle, drive, configuration):
    """The whole file system. `root` has Debian's kernel and busybox."""
    archive = Archive(path)
    for folder in "dev proc sys tmp run root".split():
        archive.entry(folder, 0o040755)
    archive.entry("dev/console", 0o020600, device=(5, 1))
    archive.copy(root / "bin/busybox", "bin/busybox", 0o100755)
    for applet in APPLETS:
        archive.entry(f"bin/{applet}", 0o120777, b"busybox")
    archive.copy(init, "init", 0o100755)
    modules = module_files(root, ["vivid", "uhid", "hid-cp2112", "i2c-dev"])
    for name, file in modules:
        archive.copy(file, f"modules/{name}.ko")
    archive.entry("modules/order", 0o100644, "".join(f"{name}\n" for name, _ in modules).encode())
    archive.copy(guest, "bin/guest", 0o100755)
    archive.copy(program, "bin/homing", 0o100755)
    # Debian 11's, the oldest that the program promises to run with.
    for name in "ld-linux-aarch64.so.1 libc.so.6 libm.so.6 libgcc_s.so.1 libdl.so.2 libpthread.so.0 librt.so.1".split():
        archive.copy(libraries / "lib" / name, f"lib/{name}", 0o100755)
    for file in sorted(os.listdir(bundle)):
        archive.copy(bundle / file, f"usr/share/homing/bundle/{file}")
    for file in sorted(drive.iterdir()):
        if file.suffix == ".yuyv" or file.name == "size":
            archive.copy(file, f"drive/{file.name}")
    archive.copy(configuration, "etc/homing.toml")
    archive.close()
