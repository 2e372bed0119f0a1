# docs/guides/state.md: code of your own that writes a file, under every crash.

import errno
import itertools
import os
from typing import Any

from trio_agents.testing import FailingDisk, RecordingDisk, crash_images


# [save]
def save(path: str, data: bytes, os: Any = os) -> None:
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


# [/save]
# [crash]
disk = RecordingDisk({"settings": b"old"})
save("settings", b"new", disk)
disk.acknowledge("saved")
for image in crash_images(disk):
    found = image.files["settings"]
    assert found in (b"old", b"new"), image
    if image.acknowledged and found != b"new":
        print(image)
# [/crash]

# [fail]
for at in itertools.count(1):
    there = RecordingDisk({"settings": b"old"})
    failing = FailingDisk(there, at=at, error=errno.ENOSPC)
    try:
        save("settings", b"new", failing)
    except OSError:
        assert there.files["settings"] == b"old", failing.calls
        assert there.open_files == 0, failing.calls
    if failing.failed is None:
        print(f"the disk was full at {at - 1} calls: {', '.join(failing.calls)}")
        break
# [/fail]

# Prints:
# after a crash behind step 5, acknowledge('saved'): settings: b'old' (3)
# after a crash behind step 5, acknowledge('saved'): settings: b'old' (3), settings.new: b'new' (3)
# the disk was full at 5 calls: open, write, fsync, close, replace
