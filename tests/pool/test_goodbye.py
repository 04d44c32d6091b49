"""A member that said goodbye is gone, whatever of what it asked before is still on its way."""

from __future__ import annotations

import sqlalchemy as sa
from test_lease_cost import join

from commonweal.core.database import Database
from commonweal.pool.api.work import seen
from commonweal.pool.schema import members


def test_a_request_that_a_goodbye_overtook_does_not_bring_a_member_back(database: Database) -> None:
    with database.transaction() as connection:
        me = join(connection, "me")

        def state() -> str:
            found: str = connection.execute(sa.select(members.c.state)).scalar_one()
            return found

        seen(connection, me, state="idle", now=100.0)
        seen(connection, me, state="left", now=110.0)
        seen(connection, me, state="idle", now=111.0, asked=109.0)
        assert state() == "left"
        seen(connection, me, state="left", now=112.0, asked=112.0)
        seen(connection, me, state="idle", now=113.0, asked=113.0)
        assert state() == "idle", "what it asks later does"
