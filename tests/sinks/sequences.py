"""What other programs may do to a sink's open file, and how to find the events in the files that are left.

Files are read as copies, with connections and parsers that are independent of the library.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

DATABASE, LINES = "sqlite", "jsonlines"


# ------------------------------------------------------------------------------------------------- the actions


def _away(path: Path) -> Path:
    return path.with_name(f"moved-{path.name}")


def _elsewhere(path: Path) -> Path:
    folder = path.parent / "archive"
    folder.mkdir(exist_ok=True)
    return folder / path.name


def companions(path: Path) -> list[Path]:
    """Return the log and the index that are next to a database."""
    found = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]
    return [file for file in found if file.exists()]


def is_database(path: Path) -> bool:
    """Return whether a sink's file is a database; otherwise it has lines."""
    return path.suffix == ".db"


def _foreign(path: Path) -> Path:
    """Create another application's file that a sink may share: a database, or JSON lines."""
    foreign = path.with_name(f"foreign-{path.name}")
    if is_database(path):
        with closing(sqlite3.connect(foreign)) as database:
            database.execute("CREATE TABLE mine (x)")
            database.executemany("INSERT INTO mine VALUES (?)", [(f"row {number}" * 50,) for number in range(200)])
            database.commit()
    else:
        foreign.write_text('{"log": "started"}\n' * 200, encoding="utf-8")
    return foreign


def rename(path: Path) -> None:
    """`mv events.db moved.db`."""
    path.rename(_away(path))


def rename_to_another_folder(path: Path) -> None:
    """`mv events.db archive/`."""
    path.rename(_elsewhere(path))


def rename_with_companions(path: Path) -> None:
    """`mv events.db* archive/`."""
    for file in [*companions(path), path]:
        file.rename(_elsewhere(path).with_name(file.name))


def rename_and_create(path: Path) -> None:
    """Logrotate does this with `create 0640`."""
    path.rename(_away(path))
    path.touch(0o640)


def rename_and_forbid(path: Path) -> None:
    """A tool does this that protects old files from changes."""
    path.rename(_away(path))
    _away(path).chmod(0o444)


def rename_and_back(path: Path) -> None:
    """Someone renames the file by mistake, and back."""
    path.rename(_away(path))
    _away(path).rename(path)


def rename_twice(path: Path) -> None:
    """`events.db` to `events.db.old` to `events.db.older`."""
    path.rename(path.with_name(f"{path.name}.old"))
    path.with_name(f"{path.name}.old").rename(path.with_name(f"{path.name}.older"))


def copy_and_truncate(path: Path) -> None:
    """Logrotate does this with `copytruncate`."""
    shutil.copyfile(path, _away(path))
    os.truncate(path, 0)


def truncate(path: Path) -> None:
    """`: > events.db`."""
    os.truncate(path, 0)


def unlink(path: Path) -> None:
    """`rm events.db`."""
    path.unlink()


def unlink_with_companions(path: Path) -> None:
    """`rm events.db*`."""
    for file in [path, *companions(path)]:
        file.unlink()


def unlink_log(path: Path) -> None:
    """`rm events.db-wal`."""
    path.with_name(f"{path.name}-wal").unlink(missing_ok=True)


def unlink_index(path: Path) -> None:
    """`rm events.db-shm`."""
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)


def unlink_log_and_index(path: Path) -> None:
    """`rm events.db-*`."""
    unlink_log(path)
    unlink_index(path)


def link_and_unlink(path: Path) -> None:
    """Backup tools do this: the file lives on under another name."""
    _elsewhere(path).hardlink_to(path)
    path.unlink()


def replace_by_foreign(path: Path) -> None:
    """`mv other.db events.db`: it contains another application's table."""
    _foreign(path).replace(path)


def rename_and_replace_by_foreign(path: Path) -> None:
    """The old file is kept, and another application's file takes its path."""
    foreign = _foreign(path)
    path.rename(_away(path))
    foreign.rename(path)


def replace_by_photo(path: Path) -> None:
    """The file is neither a database nor lines."""
    path.with_name("photo").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 40)
    path.with_name("photo").replace(path)


def replace_by_diary(path: Path) -> None:
    """The file has lines that are not JSON."""
    path.with_name("diary").write_text("Dear diary,\nnothing happened.\n", encoding="utf-8")
    path.with_name("diary").replace(path)


def replace_by_copy(path: Path) -> None:
    """`sed -i` and editors do this."""
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    copy.replace(path)


def rename_and_replace_by_older_copy(path: Path) -> None:
    """The file is restored from a backup."""
    shutil.copyfile(path, path.with_name("copy"))
    path.rename(_away(path))
    path.with_name("copy").rename(path)


def copy_back_in_place(path: Path) -> None:
    """`cp backup.db events.db`: the same file with other content."""
    shutil.copyfile(path, _away(path))
    shutil.copyfile(_away(path), path)


def exchange_with_foreign(path: Path) -> None:
    """The two files swap names."""
    foreign = _foreign(path)
    path.rename(_away(path))
    foreign.rename(path)
    _away(path).rename(foreign)


def replace_by_folder(path: Path) -> None:
    """`mv events.db moved.db; mkdir events.db`."""
    path.rename(_away(path))
    path.mkdir()


def replace_by_symlink(path: Path) -> None:
    """For example, the file is moved to another disk, with a link to it."""
    target = _elsewhere(path)
    path.rename(target)
    path.symlink_to(target)


def replace_by_broken_symlink(path: Path) -> None:
    """The link leads to a file that does not exist yet."""
    path.rename(_away(path))
    path.symlink_to(path.with_name(f"new-{path.name}"))


def forbid(path: Path) -> None:
    """`chmod 0 events.db`."""
    path.chmod(0)


def move_folder(path: Path) -> None:
    """`mv data old`: the folder is gone."""
    path.parent.rename(path.parent.with_name("old"))


def move_folder_and_make_new(path: Path) -> None:
    """`mv data old; mkdir data`."""
    move_folder(path)
    path.parent.mkdir()


def move_folder_and_link(path: Path) -> None:
    """`mv data old; ln -s old data`."""
    move_folder(path)
    path.parent.symlink_to("old")


def remove_folder(path: Path) -> None:
    """`rm -r data`."""
    shutil.rmtree(path.parent)


def replace_folder_by_file(path: Path) -> None:
    """`mv data old; touch data`."""
    move_folder(path)
    path.parent.touch()


FOREIGN = (replace_by_foreign, rename_and_replace_by_foreign, exchange_with_foreign)
"""The actions that bring in another application's file."""


class Sequence(NamedTuple):
    """An action on a sink's file."""

    act: Callable[[Path], None]
    keeps: bool = True
    """Whether some file still has the events delivered before: nothing removed them."""
    fails: bool = False
    """Whether later events fail, because nothing can be written at the path."""
    sinks: tuple[str, ...] = (DATABASE, LINES)
    timings: tuple[str, ...] = ("between", "writing", "committed")


SEQUENCES = [
    Sequence(rename),
    Sequence(rename_to_another_folder),
    Sequence(rename_with_companions),
    Sequence(rename_and_create),
    Sequence(rename_and_forbid),
    Sequence(rename_and_back),
    Sequence(rename_twice),
    Sequence(copy_and_truncate, timings=("between",)),
    Sequence(copy_and_truncate, sinks=(LINES,), timings=("writing",)),
    Sequence(truncate, keeps=False, timings=("between",)),
    Sequence(truncate, keeps=False, sinks=(LINES,), timings=("writing",)),
    Sequence(unlink, keeps=False),
    Sequence(unlink_with_companions, keeps=False),
    Sequence(unlink_log, sinks=(DATABASE,)),
    Sequence(unlink_index, sinks=(DATABASE,)),
    Sequence(unlink_log_and_index, sinks=(DATABASE,)),
    Sequence(link_and_unlink),
    Sequence(replace_by_foreign, keeps=False),
    Sequence(rename_and_replace_by_foreign),
    Sequence(replace_by_photo, keeps=False, fails=True),
    Sequence(replace_by_diary, keeps=False, fails=True),
    Sequence(replace_by_copy, timings=("between",)),
    Sequence(rename_and_replace_by_older_copy),
    Sequence(copy_back_in_place, timings=("between",)),
    Sequence(exchange_with_foreign),
    Sequence(replace_by_folder, fails=True),
    Sequence(replace_by_symlink),
    Sequence(replace_by_broken_symlink),
    Sequence(forbid),
    Sequence(move_folder, fails=True),
    Sequence(move_folder_and_make_new),
    Sequence(move_folder_and_link),
    Sequence(remove_folder, keeps=False, fails=True),
    Sequence(replace_folder_by_file, fails=True),
]


# ------------------------------------------------------------------------------------------ reading the files


def read_database(path: Path, folder: Path, log: Path | None = None) -> list[int]:
    """Read a copy of a database and its log, so that nothing changes."""
    copy = folder / "copy.db"
    shutil.copyfile(path, copy)
    log = log or path.with_name(f"{path.name}-wal")
    if log.exists():
        shutil.copyfile(log, folder / "copy.db-wal")
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchone():
            return []
        rows = database.execute("SELECT json_extract(labels, '$.id') FROM events ORDER BY id").fetchall()
    return [int(number) for (number,) in rows]


def read_lines(path: Path, *, is_copy: bool) -> list[int]:
    """Read a file of lines, each of which must be whole; only a copy may break off at the end."""
    *lines, rest = path.read_bytes().split(b"\n")
    assert rest == b"" or is_copy
    return [int(form["labels"]["id"]) for line in lines if "labels" in (form := json.loads(line))]


def read_all(root: Path, scratch: Path, *, copied: bool = False, log_of: int = 0) -> set[int]:
    """Return the numbers of the events in the files below a folder; no file may have one twice.

    Args:
        root: the folder.
        scratch: the folder for copies.
        copied: whether a moved file is a copy of the sink's.
        log_of: the inode of the database whose log was set aside.
    """
    found = dict[Path, list[int]]()
    for number, file in enumerate(file for file in files_below(root) if not file.name.endswith(("-wal", "-shm"))):
        beginning = file.read_bytes()[:16]
        if beginning == b"SQLite format 3\0":
            (scratch / str(number)).mkdir(parents=True)
            log = next(root.rglob("events.db.*-wal"), None) if file.stat().st_ino == log_of else None
            found[file] = read_database(file, scratch / str(number), log)
        elif beginning.startswith(b"{"):
            found[file] = read_lines(file, is_copy=copied and file.name.startswith("moved-"))
    assert all(len(set(numbers)) == len(numbers) for numbers in found.values()), found
    return {number for numbers in found.values() for number in numbers}


def read_numbers(file: Path, scratch: Path) -> list[int]:
    """Return the numbers of the events in one file, in order."""
    return read_database(file, scratch) if is_database(file) else read_lines(file, is_copy=False)


def files_below(root: Path) -> Iterator[Path]:
    """Yield each file in a folder and its subfolders, except symbolic links."""
    for folder, _, names in os.walk(root):
        yield from (Path(folder) / name for name in sorted(names) if not (Path(folder) / name).is_symlink())


def check_bystanders(act: Callable[[Path], None], path: Path, root: Path) -> None:
    """Assert that another application's file still exists with its whole content."""
    if act not in (*FOREIGN, replace_by_photo, replace_by_diary):
        return
    [file] = [
        file for file in files_below(root) if file.name in (path.name, f"foreign-{path.name}") and _is_foreign(file)
    ]
    if act is replace_by_photo:
        assert file.read_bytes() == b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 40
    elif act is replace_by_diary:
        assert file.read_bytes() == b"Dear diary,\nnothing happened.\n"
    elif is_database(path):
        with closing(sqlite3.connect(file)) as database:
            assert database.execute("SELECT count(*), min(x) FROM mine").fetchone() == (200, "row 0" * 50)
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _is_foreign(file: Path) -> bool:
    """Return whether the file still begins like another application's; a database must have the other table."""
    content = file.read_bytes()
    beginnings = (b"\xff\xd8", b"Dear", b'{"log": "started"}\n' * 200)
    return content.startswith(beginnings) or b"CREATE TABLE mine" in content[:100_000]
