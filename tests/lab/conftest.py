"""Small projects to try the notebook in."""

from projects import fresh, inside, mother, project  # noqa: F401, fixtures
