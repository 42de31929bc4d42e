"""Implementations: which attention a hooked model runs beneath our own, and what follows when the user sets another."""

from __future__ import annotations

from typing import Any

from torch import nn

from interp.hooks.attention import KEY_PREFIX, SITES, check_implementation, hook_attention, unhook_attention
from interp.hooks.points import AttentionPoints
from interp.hooks.rows import Pass


class Implementations:
    """The hooked attention modules of one model, and the implementation that each configuration of them names.

    While the model is hooked its configurations hold a private name. Where the user sets another implementation, hooks
    go on above that one; what was set last stays when the hooks come off.
    """

    def __init__(self, config: Any) -> None:
        """Begin with no module of the model of this configuration."""
        self.config = config
        self.modules: list[nn.Module] = []
        self._named: dict[int, tuple[Any, str]] = {}

    @property
    def names(self) -> list[str]:
        """The implementations, one for each configuration."""
        return [name for _, name in self._named.values()]

    def hook(self, module: Any, points: AttentionPoints, now: Pass, *, follows_pass: bool) -> None:
        """Hook one more module; see `hook_attention`."""
        name = hook_attention(module, points, now, follows_pass=follows_pass)
        self.modules.append(module)
        self._named[id(module.config)] = (module.config, name)

    def take(self) -> None:
        """Write our private names into the configurations."""
        for config, name in self._named.values():
            config._attn_implementation_internal = KEY_PREFIX + name

    def give_back(self) -> None:
        """Take the hooks off, and the private names where the user has not set others."""
        for module in self.modules:
            unhook_attention(module)
        for config, name in self._named.values():
            if config._attn_implementation_internal == KEY_PREFIX + name:
                config._attn_implementation_internal = name
        for holder in (self.config, *(module.config for module in self.modules)):
            self._own_names(holder)
        self.modules, self._named = [], {}

    def _own_names(self, config: Any) -> None:
        """Take our private names away wherever somebody wrote them, who had read them while the model was hooked."""
        name = getattr(config, "_attn_implementation_internal", None)
        if name is not None and name.startswith(KEY_PREFIX):
            config._attn_implementation_internal = name.removeprefix(KEY_PREFIX)
        for part in getattr(config, "sub_configs", {}):
            self._own_names(getattr(config, part, None))

    def follow(self) -> None:
        """Go on above another implementation, where one was set since the last pass.

        Raises:
            ModelError: it is not supported.
        """
        for key, (config, before) in self._named.items():
            if config._attn_implementation_internal == KEY_PREFIX + before:
                continue
            name = str(config._attn_implementation_internal).removeprefix(KEY_PREFIX)
            check_implementation(name)
            for module in self.modules:
                if module.config is config:
                    SITES[module].runs(module, name)
            self._named[key] = config, name
            config._attn_implementation_internal = KEY_PREFIX + name
