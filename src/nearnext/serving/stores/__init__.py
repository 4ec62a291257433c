"""Session stores: in the process, or on a Redis or Valkey server."""

from nearnext.serving.settings import MEMORY, ServiceSettings
from nearnext.serving.stores.memory import MemoryStore
from nearnext.serving.stores.store import SessionStore, StoreDown

__all__ = ["MemoryStore", "SessionStore", "StoreDown", "make_store"]


def make_store(settings: ServiceSettings) -> SessionStore:
    """The store that the settings name; nothing is connected yet."""
    if settings.store == MEMORY:
        return MemoryStore(settings.session_ttl, settings.session_clicks, settings.store_mib << 20)
    from nearnext.serving.stores.redis import RedisStore

    return RedisStore(settings.store, settings.session_ttl, settings.session_clicks, settings.store_timeout)
