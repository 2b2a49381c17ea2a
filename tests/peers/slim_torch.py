"""Imports torch from the trainer's libtorch, which lacks most of NVIDIA's libraries (2.7 GB that no test uses).

torch's extension modules want those libraries to exist when they are loaded, and look into them only when a GPU is
used. So a library without any functions takes the place of each, in .peers/torch_stubs, and symbols are bound when
they are first called. `import slim_torch` must come before `import torch`; it starts the program anew once.
"""

import os
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).resolve().parents[2] / ".peers"
STUBS = PEERS / "torch_stubs"
# What the torch of tests/libtorch links with and does not bring; the versions are those its symbols ask for.
LIBRARIES = {
    "libcublas.so.13": "libcublas.so.13",
    "libcublasLt.so.13": "libcublasLt.so.13",
    "libcudnn.so.9": "libcudnn.so.9",
    "libcufft.so.12": "libcufft.so.12",
    "libcufile.so.0": None,
    "libcurand.so.10": None,
    "libcusparse.so.12": "libcusparse.so.12",
    "libcusparseLt.so.0": None,
    "libnccl.so.2": None,
    "libnvshmem_host.so.3": "NVSHMEM",
}


def make_stubs():
    if all((STUBS / name).exists() for name in LIBRARIES):
        return
    STUBS.mkdir(parents=True, exist_ok=True)
    own = STUBS / f"stub.{os.getpid()}"
    own.with_suffix(".map").write_text("".join(f"{version} {{ }};\n" for version in LIBRARIES.values() if version))
    library = own.with_suffix(".so")
    script = f"-Wl,--version-script={own.with_suffix('.map')}"
    subprocess.run(["cc", "-shared", "-x", "c", "/dev/null", script, "-o", library], check=True)
    for name in LIBRARIES:
        # A copy each, renamed into place: other peers may be loading them at this moment.
        copy = STUBS / f"{name}.{os.getpid()}"
        copy.write_bytes(library.read_bytes())
        copy.rename(STUBS / name)
    library.unlink()
    own.with_suffix(".map").unlink()


if os.environ.get("LD_LIBRARY_PATH") != str(STUBS):
    make_stubs()
    # No GPU: nothing may call what is not there.
    environment = {**os.environ, "LD_LIBRARY_PATH": str(STUBS), "CUDA_VISIBLE_DEVICES": ""}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)

sys.setdlopenflags(os.RTLD_LAZY)
sys.path.append(str(PEERS / "libtorch"))
