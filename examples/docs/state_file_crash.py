# docs/guides/state.md: code of your own that writes a file, under every crash.

import os
from typing import Any

from trio_agents.testing import RecordingDisk, crash_images


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

# Prints:
# after a crash behind step 5, acknowledge('saved'): settings: b'old' (3)
# after a crash behind step 5, acknowledge('saved'): settings: b'old' (3), settings.new: b'new' (3)
