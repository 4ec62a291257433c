"""A Ray cluster that the tests share: it takes seconds to start."""

from collections.abc import Iterator

import pytest

from nearnext.scale.ray_tasks import RayTasks, ray_tasks


@pytest.fixture(scope="package")
def cluster() -> Iterator[RayTasks]:
    """A cluster of two workers on this machine."""
    with ray_tasks(workers=2) as executor:
        yield executor
