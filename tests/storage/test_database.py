"""The SQLite file: its making, its rights, its transactions."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gma.storage.database import SCHEMA_VERSION, Database, DatabaseUnusable, prepare
from tests.storage.support import StorageTestCase
from tests.support import Reactor, inline_pool

_ADD_ROW = (
    "INSERT INTO registrations (api_host, redirect_uri, scopes, client_name, website, client_id,"
    " client_secret, registered_at) VALUES ('a.example', '', '', '', '', '', '', 0)"
)


def _ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    """What another program finds in the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


class PrepareTests(SynchronousTestCase):
    """A file is made, taken up, or refused."""

    def setUp(self) -> None:
        """A place for the file."""
        self.path = Path(self.mktemp()).absolute()

    def refusal(self) -> str:
        """Why the file cannot be used."""
        with self.assertRaises(DatabaseUnusable) as caught:
            prepare(self.path)
        return str(caught.exception)

    def test_mode(self) -> None:
        """The file and its journals are readable for their owner alone, whatever the umask."""
        self.addCleanup(os.umask, os.umask(0))
        prepare(self.path)
        database = Database(inline_pool(self.path, Reactor()))
        self.addCleanup(database.close)
        self.successResultOf(database.write(lambda cursor: cursor.execute(_ADD_ROW)))
        modes = {
            file.name.removeprefix(self.path.name): oct(file.stat().st_mode & 0o777)
            for file in self.path.parent.glob(f"{self.path.name}*")
        }
        self.assertEqual(modes, {"": "0o600", "-wal": "0o600", "-shm": "0o600"})

    def test_version(self) -> None:
        """A new file has the newest schema."""
        prepare(self.path)
        self.assertEqual(_ask(self.path, "PRAGMA user_version"), [(SCHEMA_VERSION,)])

    def test_tables(self) -> None:
        """A new file has the tables of the schema, empty."""
        prepare(self.path)
        tables = _ask(self.path, "SELECT name FROM sqlite_master WHERE type = 'table'")
        self.assertEqual(sorted(tables), [("registrations",), ("requests",), ("visits",)])

    def test_empty_file(self) -> None:
        """An empty file is as good as none."""
        self.path.touch()
        prepare(self.path)
        self.assertEqual(_ask(self.path, "SELECT count(*) FROM registrations"), [(0,)])

    def test_twice(self) -> None:
        """A file that is up to date keeps what is in it."""
        prepare(self.path)
        _ask(self.path, _ADD_ROW)
        prepare(self.path)
        self.assertEqual(_ask(self.path, "SELECT api_host FROM registrations"), [("a.example",)])

    def test_nothing_left_open(self) -> None:
        """Preparing leaves no journal behind and no lock."""
        prepare(self.path)
        journals = [*self.path.parent.glob(f"{self.path.name}-*")]
        _ask(self.path, "BEGIN EXCLUSIVE")
        self.assertEqual(journals, [])

    def test_newer(self) -> None:
        """A newer schema is refused with both versions in the text, and the file stays as it is."""
        prepare(self.path)
        _ask(self.path, _ADD_ROW)
        _ask(self.path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        before = self.path.read_bytes()
        self.assertEqual(
            self.refusal(),
            f"{self.path}: was made by a newer gma: schema {SCHEMA_VERSION + 1},"
            f" where this one knows {SCHEMA_VERSION}",
        )
        self.assertEqual(self.path.read_bytes(), before)

    def test_no_database(self) -> None:
        """A file that is no database is refused by name, and stays as it is."""
        content = b"app_name: this is a configuration, not a database\n" * 100
        self.path.write_bytes(content)
        self.assertEqual(self.refusal(), f"{self.path}: file is not a database")
        self.assertEqual(self.path.read_bytes(), content)

    def test_cut_off(self) -> None:
        """A database of which half is missing is refused by name, and stays as it is."""
        prepare(self.path)
        content = self.path.read_bytes()[:5000]
        self.path.write_bytes(content)
        self.assertIn(f"{self.path}: ", self.refusal())
        self.assertEqual(self.path.read_bytes(), content)

    def test_all_or_nothing(self) -> None:
        """Where a step of the schema fails, none of it is done."""
        prepare(self.path)
        for table in ("visits", "requests", "registrations"):
            _ask(self.path, f"DROP TABLE {table}")
        _ask(self.path, "PRAGMA user_version = 0")
        _ask(self.path, "CREATE TABLE requests (theirs)")
        self.assertIn(f"{self.path}: ", self.refusal())
        tables = _ask(self.path, "SELECT name FROM sqlite_master")
        self.assertEqual(
            (tables, _ask(self.path, "PRAGMA user_version")), ([("requests",)], [(0,)])
        )

    def test_of_another_program(self) -> None:
        """An SQLite file that is not ours is refused by name, and stays as it is."""
        for statement in ("CREATE TABLE notes (x)", "PRAGMA user_version = 1"):
            self.path = Path(self.mktemp()).absolute()
            _ask(self.path, statement)
            before = self.path.read_bytes()
            self.assertEqual(self.refusal(), f"{self.path}: is the database of another program")
            self.assertEqual(self.path.read_bytes(), before)

    def test_one_octet(self) -> None:
        """A file that SQLite would take for an empty one is refused, and stays as it is."""
        self.path.write_bytes(b"x")
        self.assertEqual(self.refusal(), f"{self.path}: file is not a database")
        self.assertEqual(self.path.read_bytes(), b"x")

    def test_open_to_others(self) -> None:
        """A file that others could read is closed to them."""
        self.path.touch(0o644)
        prepare(self.path)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_no_folder(self) -> None:
        """A file in a folder that does not exist is refused by name."""
        self.path = self.path / "gma.sqlite"
        self.assertEqual(self.refusal().partition(": ")[0], str(self.path))

    def test_folder(self) -> None:
        """A folder in place of the file is refused by name."""
        self.path.mkdir()
        self.assertEqual(self.refusal().partition(": ")[0], str(self.path))


class DatabaseTests(StorageTestCase):
    """Units of work on the pool's connection."""

    def hosts(self) -> list[tuple[object, ...]]:
        """What is on the disk for everyone to see."""
        return _ask(self.path, "SELECT api_host FROM registrations")

    def test_pragmas(self) -> None:
        """The pool's connection writes ahead, syncs each commit and holds to foreign keys."""
        full = 2
        found = {
            pragma: self.query(f"PRAGMA {pragma}")
            for pragma in ("journal_mode", "synchronous", "foreign_keys")
        }
        self.assertEqual(
            found, {"journal_mode": [("wal",)], "synchronous": [(full,)], "foreign_keys": [(1,)]}
        )

    def test_result(self) -> None:
        """A unit's result is what was asked for."""
        read = self.database.read(lambda cursor: cursor.execute("SELECT 1").fetchone())
        self.assertEqual(self.successResultOf(read), (1,))

    def test_write(self) -> None:
        """What a unit wrote is committed when it returns."""
        self.successResultOf(self.database.write(lambda cursor: cursor.execute(_ADD_ROW)))
        self.assertEqual(self.hosts(), [("a.example",)])

    def test_undone(self) -> None:
        """A unit that raises is undone, and whoever asked for it gets the error."""

        def unit(cursor: sqlite3.Cursor) -> None:
            cursor.execute(_ADD_ROW)
            raise ValueError("in vain")

        self.failureResultOf(self.database.write(unit), ValueError)
        self.assertEqual(self.hosts(), [])

    def test_after_undone(self) -> None:
        """After a unit that failed in SQL the next one is done and committed."""
        self.failureResultOf(
            self.database.write(lambda cursor: cursor.execute("NONSENSE")), sqlite3.OperationalError
        )
        self.successResultOf(self.database.write(lambda cursor: cursor.execute(_ADD_ROW)))
        self.assertEqual(self.hosts(), [("a.example",)])

    def test_one_view(self) -> None:
        """A unit that reads sees one state of the data from beginning to end."""

        def unit(cursor: sqlite3.Cursor) -> list[object]:
            count = "SELECT count(*) FROM registrations"
            before = cursor.execute(count).fetchone()
            _ask(self.path, _ADD_ROW)
            return [before, cursor.execute(count).fetchone()]

        self.assertEqual(self.successResultOf(self.database.read(unit)), [(0,), (0,)])

    def test_write_lock(self) -> None:
        """A unit that writes keeps other writers out from its beginning on."""

        def unit(cursor: sqlite3.Cursor) -> None:
            with closing(sqlite3.connect(self.path, timeout=0)) as other:
                self.assertRaises(sqlite3.OperationalError, other.execute, "BEGIN IMMEDIATE")

        self.successResultOf(self.database.write(unit))

    def test_no_lock_left(self) -> None:
        """Between units nobody is kept out."""
        self.query("SELECT * FROM registrations")
        self.successResultOf(self.database.write(lambda cursor: None))
        with closing(sqlite3.connect(self.path, timeout=0)) as other:
            other.execute("BEGIN EXCLUSIVE")

    def test_check(self) -> None:
        """A database that answers passes the check."""
        self.assertIsNone(self.successResultOf(self.database.check()))

    def test_check_fails(self) -> None:
        """A database that has lost its tables does not pass the check."""
        _ask(self.path, "DROP TABLE registrations")
        self.failureResultOf(self.database.check(), sqlite3.OperationalError)

    def test_close(self) -> None:
        """A database that is closed leaves no journal behind."""
        self.successResultOf(self.database.write(lambda cursor: cursor.execute(_ADD_ROW)))
        self.database.close()
        self.assertEqual([*self.path.parent.glob(f"{self.path.name}-*")], [])
