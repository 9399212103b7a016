"""The image of the pool's jobs."""

from tests.pool.conftest import image

__all__ = ["image"]
