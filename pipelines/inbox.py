"""The one door to a file of the inbox: what is opened is a regular file that lies in it, whatever came into its place meanwhile.

Discovery looks at names. Between that look and the opening a sender may put a symlink, a FIFO or another folder there, so the
way to the file is walked anew, folder by folder, and no step of it follows a link.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.problems import DropHeldError

_A_LINK = (errno.ELOOP, errno.ENOTDIR)
"""What opening a folder that is a symlink, without following it, answers."""


def open_file(inbox: Path, location: Path) -> int:
    """Open a file of the inbox to be read; return its descriptor. A symlink that stays within the inbox is followed.

    Raises DropHeldError `not_a_file` when it is no regular file or lies elsewhere (that is then not opened), OSError when
    it cannot be opened.
    """
    with open_folder(inbox, location) as (folder, name):
        # A device may do something when it is opened, so it is looked at before. Should a FIFO come just then: O_NONBLOCK.
        _assert_regular(os.stat(name, dir_fd=folder, follow_symlinks=False))
        try:
            file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except OSError as error:
            raise _moved() if error.errno == errno.ELOOP else error from None
    try:
        _assert_regular(os.fstat(file))
    except BaseException:
        os.close(file)
        raise
    return file


@contextmanager
def open_folder(inbox: Path, location: Path) -> Iterator[tuple[int, str]]:
    """Open the folder in which a file of the inbox really lies, for the block; give its descriptor and the file's name there.

    Raises DropHeldError `not_a_file` when the way there leads out of the inbox, OSError when it cannot be gone.
    """
    root = os.path.realpath(inbox, strict=True)
    real = Path(os.path.realpath(location))
    if not real.is_relative_to(root):
        raise DropHeldError("not_a_file", "a symlink that leads out of the inbox")
    *folders, name = real.relative_to(root).parts or (".",)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for step in folders:
            try:
                inner = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            except OSError as error:
                raise _moved() if error.errno in _A_LINK else error from None
            os.close(folder)
            folder = inner
        yield folder, name
    finally:
        os.close(folder)


def lies_in(inbox: Path, location: Path) -> bool:
    """Tell whether a file, its links followed, lies in the inbox."""
    return Path(os.path.realpath(location)).is_relative_to(os.path.realpath(inbox))


def _assert_regular(status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise _moved()
    if not stat.S_ISREG(status.st_mode):
        raise DropHeldError("not_a_file", "it is no regular file any more")


def _moved() -> DropHeldError:
    return DropHeldError("not_a_file", "a symlink came into its place, or its folder's, while it was read")
