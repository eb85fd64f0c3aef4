"""Brings a store's schema to this program's revision; Alembic is imported only when there is something to do."""

from pathlib import Path

from store.errors import SchemaTooNew

HEAD = "0003"
"""The newest revision; `tests/store/test_migrations.py` holds it against Alembic's own idea of it."""


def needs_upgrade(revision: str | None, *, place: str) -> bool:
    """Tell whether a store at `revision` (None: nothing there yet) has to be migrated.

    Revisions are numbers of four digits, so that an older program can tell that it is the older one.

    Raises:
        SchemaTooNew: `place` was written by a newer Parley.
    """
    if revision is not None and revision > HEAD:
        raise SchemaTooNew(f"{place} has schema {revision}, this Parley reads up to {HEAD}: install the newer Parley again")
    return revision != HEAD


def upgrade(sqlalchemy_url: str, *, revision: str = "head") -> None:
    """Run every revision up to `revision` that the store at this URL does not have yet, in one transaction.

    Raises:
        the driver's error, for the engine's own room to translate.
    """
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    engine = sa.create_engine(sqlalchemy_url, poolclass=sa.NullPool)
    if engine.dialect.name == "sqlite":
        # Python's driver begins no transaction for a CREATE or ALTER: a crash would leave half of a migration behind.
        sa.event.listen(engine, "connect", lambda dbapi, _: setattr(dbapi, "isolation_level", None))
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except sa.exc.DBAPIError as exc:
        raise exc.orig or exc from exc
    finally:
        engine.dispose()
