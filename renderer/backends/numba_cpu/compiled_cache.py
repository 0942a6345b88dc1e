"""numba's cache of compiled functions, which a full disk, a folder that cannot be written or a damaged file must not
take down: the function is then compiled again, which takes a minute, and one line says so."""

import logging
from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

_log = logging.getLogger(__name__)
_OPTIONS = {"parallel": True, "error_model": "numpy"}


class TolerantCache(FunctionCache):
    """numba's own cache, whose faults end in a line of the log; numba itself raises what the file system or the
    unpickling of a damaged file raises."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for a signature; None where there is none, or its file is damaged."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # unpickling raises a dozen kinds
            self._give_up(error)
            self._attempt(self.flush)  # a damaged index would be read again before something is stored
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store a compiled function."""
        self._attempt(lambda: super(TolerantCache, self).save_overload(sig, data))

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        _log.warning(
            "the compiled renderer in %s cannot be used (%s: %s); it is compiled again",
            self.cache_path,
            type(error).__name__,
            error,
        )


def compile_and_cache(function: Callable[..., None]) -> Callable[..., None]:
    """A function compiled for all threads at its first call, and cached on disk where that is possible."""
    compiled = njit(**_OPTIONS)(function)
    try:
        compiled._cache = TolerantCache(function)  # as `cache=True` does with numba's own
    except RuntimeError as error:  # numba finds no folder that it may write
        _log.warning("the compiled renderer cannot be kept (%s); it is compiled in every command", error)
    return compiled
