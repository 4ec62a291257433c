"""Write requirements.lock: every package that the container image installs, with its hash, without torch.

    python deploy/lock.py

Run it on Linux with the image's version of Python and processor: pip resolves for the machine that it runs on. Versions
are those of constraints.txt. Torch comes from an index of its own, see TORCH_INDEX in the Dockerfile.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = re.compile(r"torch|triton|nvidia-.*|cuda-.*")


def main() -> None:
    """Resolve and write."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    command += ["--only-binary", ":all:", "-c", str(ROOT / "constraints.txt"), f"{ROOT}[train,serve,ann,onnx]"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment["PIP_CONFIG_FILE"] = os.devnull  # from PyPI alone
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)  # noqa: S603 - pip itself
    if done.returncode:
        sys.exit("pip found no versions for requirements.lock, see above; nothing was written")
    lines: list[str] = []
    for package in json.loads(done.stdout)["install"]:
        name, version = package["metadata"]["name"].lower(), package["metadata"]["version"]
        if name != "nearnext" and not TORCH.fullmatch(name):
            sha256 = package["download_info"]["archive_info"]["hashes"]["sha256"]
            lines.append(f"{name}=={version} --hash=sha256:{sha256}\n")
    version = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    head = f"# Made by deploy/lock.py for {version} on {os.uname().sysname} {os.uname().machine}\n"
    (ROOT / "deploy" / "requirements.lock").write_text(head + "".join(sorted(lines)))


if __name__ == "__main__":
    main()
