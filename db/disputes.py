"""Which studies are in dispute: `db.consensus` in SQL, for those who ask of more studies than can be read."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, ColumnElement, literal_column

from db.answering import STANDING
from db.consensus import SAYS

_NO_MAJORITY: Final = " AND ".join(
    "2 * sum(CASE WHEN w.verdict IN ({}) THEN 1 ELSE 0 END) <= count(*)".format(
        ", ".join(f"'{kind}'" for kind, said in SAYS.items() if said is finding)
    )
    for finding in sorted(set(SAYS.values()))
)


def disputed(study: str) -> ColumnElement[bool]:
    """Say of a study whether `db.judged.judged` finds it `Finding.DISPUTED`.

    Parameters
    ----------
    study : str
        What the statement calls the table `study`.
    """
    disagreeing = f"""EXISTS (
        SELECT 1 FROM {STANDING}
        AND n.study_id = {study}.id AND NOT EXISTS (
            SELECT 1 FROM study_revision newer JOIN verdict newest ON newest.study_revision_id = newer.id
            WHERE newer.study_id = n.study_id AND newer.revision > n.revision)
        GROUP BY n.id HAVING {_NO_MAJORITY})"""  # noqa: S608 - constants and the name of a table
    return literal_column(disagreeing, Boolean)
