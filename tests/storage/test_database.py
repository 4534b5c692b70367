"""The database's file, its schema and its transactions."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gma.storage.database import SCHEMA_VERSION, Database, DatabaseUnusable, prepare
from tests.support import Reactor, inline_pool


class FileTests(SynchronousTestCase):
    """Making the file and opening it again."""

    def setUp(self) -> None:
        """A folder."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "gma.sqlite"

    def test_private(self) -> None:
        """The file and its journals are for their owner alone, whatever the umask."""
        prepare(self.path)
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("CREATE TABLE more (x)")
            files = sorted(self.folder.iterdir())
            self.assertEqual(len(files), 3)
            for file in files:
                self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600, file)

    def test_again(self) -> None:
        """Opening it again changes nothing."""
        prepare(self.path)
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(
                "INSERT INTO registrations VALUES (1, 'h', 'u', 's', 'n', 'w', 'i', 's', 0)"
            )
        prepare(self.path)
        with closing(sqlite3.connect(self.path)) as connection:
            rows = connection.execute("SELECT count(*) FROM registrations").fetchone()
            version = connection.execute("PRAGMA user_version").fetchone()
        self.assertEqual((rows, version), ((1,), (SCHEMA_VERSION,)))

    def test_newer(self) -> None:
        """A file of a newer gma is refused with both versions and left as it is."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA user_version = 99")
        error = self.assertRaises(DatabaseUnusable, prepare, self.path)
        self.assertRegex(
            str(error), rf"newer gma: schema 99, where this one knows {SCHEMA_VERSION}"
        )
        with closing(sqlite3.connect(self.path)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        self.assertEqual(tables, (0,))

    def test_no_database(self) -> None:
        """A file that is something else is refused and left as it is."""
        self.path.write_text("dear diary, " * 1000)
        error = self.assertRaises(DatabaseUnusable, prepare, self.path)
        self.assertIn(str(self.path), str(error))
        self.assertEqual(self.path.read_text(), "dear diary, " * 1000)

    def test_no_folder(self) -> None:
        """What the system refuses is told with its reason."""
        error = self.assertRaises(DatabaseUnusable, prepare, self.folder / "none" / "gma.sqlite")
        self.assertIn("No such file or directory", str(error))

    def test_half_an_upgrade(self) -> None:
        """An upgrade that fails leaves nothing half made."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("CREATE TABLE visits (in_the_way)")
        self.assertRaises(DatabaseUnusable, prepare, self.path)
        with closing(sqlite3.connect(self.path)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        self.assertEqual(tables, [("visits",)])


class TransactionTests(SynchronousTestCase):
    """Units of work."""

    def setUp(self) -> None:
        """An empty database."""
        path = Path(self.mktemp()).absolute()
        prepare(path)
        pool = inline_pool(path, Reactor())
        self.database = Database(pool)
        self.addCleanup(self.database.close)
        self.other = sqlite3.connect(path)
        self.addCleanup(self.other.close)

    def write(self, unit: Callable[[sqlite3.Cursor], object]) -> Deferred[object]:
        """Run a unit that changes something."""
        return Deferred.fromCoroutine(self.database.write(unit))

    def count(self) -> int:
        """How many registrations another connection sees."""
        (count,) = self.other.execute("SELECT count(*) FROM registrations").fetchone()
        return int(count)

    def test_committed(self) -> None:
        """What a unit has done is there for others when it returns."""
        self.successResultOf(self.write(_insert))
        self.assertEqual(self.count(), 1)

    def test_undone(self) -> None:
        """What a unit did before it failed is undone, and the next one works."""

        def unit(cursor: sqlite3.Cursor) -> None:
            _insert(cursor)
            raise ZeroDivisionError

        self.failureResultOf(self.write(unit), ZeroDivisionError)
        self.assertEqual(self.count(), 0)
        self.successResultOf(self.write(_insert))
        self.assertEqual(self.count(), 1)

    def test_isolated(self) -> None:
        """What a unit has not finished is not seen by others."""

        def unit(cursor: sqlite3.Cursor) -> int:
            _insert(cursor)
            return self.count()

        self.assertEqual(self.successResultOf(self.write(unit)), 0)

    def test_durable(self) -> None:
        """The connection is set up so that what is committed is on the disk."""

        def pragmas(cursor: sqlite3.Cursor) -> list[object]:
            names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            return [cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

        asking = Deferred.fromCoroutine(self.database.read(pragmas))
        self.assertEqual(self.successResultOf(asking), ["wal", 2, 1, 5000])


def _insert(cursor: sqlite3.Cursor) -> None:
    cursor.execute("INSERT INTO registrations VALUES (NULL, 'h', 'u', 's', 'n', 'w', 'i', 's', 0)")
