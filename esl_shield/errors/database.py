"""Errors of PostgreSQL: its schema, its logins, its absence."""

from __future__ import annotations

from esl_shield.errors import DependencyAway, InputRejected, ShieldError, UsageError

NO_RIGHT = "42501"  # insufficient_privilege


class RolesMissing(UsageError):
    """The cluster-wide roles were not made yet, or the caller is not a member of the owner."""

    error_id = "database.roles_missing"
    sentence = "The database lacks {roles}; run `esl-shield db roles` as an administrator first."


class SchemaRefused(UsageError):
    """PostgreSQL did not let an administrator change schema, roles or logins; nothing was changed."""

    error_id = "database.schema_refused"
    sentence = "The database refused the change: {problem}; nothing was changed."


class NothingToDowngrade(UsageError):
    """The database has no revision to go back to."""

    error_id = "database.nothing_to_downgrade"
    sentence = "There is nothing to undo: this database has {what}."


class DatabaseRefused(UsageError):
    """PostgreSQL refused a statement: a right is missing, or program and schema do not fit each other.

    ``sqlstate`` is PostgreSQL's code of five characters, or one of ours (ES...). Its message is left out: it may quote
    rows.
    """

    error_id = "database.refused"
    sentence = (
        "The database refused {function} with SQLSTATE {sqlstate}; check the login's role and run "
        "`esl-shield db upgrade`."
    )

    def __init__(self, *, function: str, sqlstate: str) -> None:
        super().__init__(function=function, sqlstate=sqlstate)
        self.sqlstate = sqlstate


class LoginRefused(DatabaseRefused):
    """PostgreSQL did not let the login in: its name, its password, its database or a right to connect is wrong.

    ``problem`` is the server's sentence, which names logins, hosts and databases only; ``sqlstate`` is empty when libpq
    did not pass it on.
    """

    error_id = "database.login_refused"
    sentence = "The database did not let the login in: {problem}; check the [database] url and its password."

    def __init__(self, *, problem: str, sqlstate: str) -> None:
        ShieldError.__init__(self, problem=problem)
        self.sqlstate = sqlstate


class RightMissing(DatabaseRefused):
    """The login is another role's than the one the command needs."""

    error_id = "database.right_missing"
    sentence = "The database refused {function}, which takes the login of {needs}: name that login in [database] url."

    def __init__(self, *, function: str, needs: str) -> None:
        ShieldError.__init__(self, function=function, needs=needs)
        self.sqlstate = NO_RIGHT


class LoginMisplaced(UsageError):
    """A process's database login has another process's rights too."""

    error_id = "database.login_misplaced"
    sentence = (
        "The database login of this {process} may also call {function}, which is another process's right: give each "
        "its own with `esl-shield db login`."
    )


class LoginRejected(InputRejected):
    """A database login cannot be made as asked."""

    error_id = "login.rejected"
    sentence = "The login {login} was not made: {why}."


class DatabaseAway(DependencyAway):
    """PostgreSQL refused the connection, dropped it or did not answer in time."""

    error_id = "database.away"
    sentence = "The database did not answer: {problem}; check [database] url and that PostgreSQL runs."


class EmbeddedUnavailable(DependencyAway):
    """The private PostgreSQL of the demo and the tests could not be started."""

    error_id = "database.embedded"
    sentence = "The embedded PostgreSQL is not available: {problem}."
