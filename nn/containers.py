"""Containers of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .modules import Module


class _Numbered(Module):
    """Modules named 0, 1, 2, ..."""

    def __init__(self, modules: Iterable[Module]) -> None:
        super().__init__()
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> Any:
        """Add a module at the end."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: expected a Module, got {type(module).__name__}")
        setattr(self, str(len(self)), module)
        return self

    def _all(self) -> list[Any]:
        return [value for name, value in vars(self).items() if name.isdigit()]

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._all())

    def __getitem__(self, index: Any) -> Any:
        found = self._all()[index]
        return type(self)(found) if isinstance(index, slice) else found


class ModuleList(_Numbered):
    """A list of modules whose parameters are registered: `nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])`."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__(modules)

    def append(self, module: Module) -> ModuleList:
        number = len(self)
        super().append(module)
        if self._label is not None:
            module._label = f"{self._label}[{number}]"
        return self

    def _be_called(self, label: str) -> None:
        """Label the modules `label[0]`, `label[1]`, ...; the list itself is never called."""
        super()._be_called(label)
        for number, module in enumerate(self):
            if module._label == str(number):
                module._label = f"{self._label}[{number}]"


class Sequential(_Numbered):
    """One module after the other: `nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))`."""

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def __getitem__(self, index: Any) -> Any:
        found = self._all()[index]
        return Sequential(*found) if isinstance(index, slice) else found

    def forward(self, x: Any) -> Any:
        """Apply each module to the output of the one before. TypeError if that is a tuple, as from a layer over time,
        and the next module does not take one."""
        before: Any = None
        for module in self._all():
            try:
                x = module(x)
            except (TypeError, ValueError, AttributeError) as error:
                if before is None or not isinstance(x, tuple):
                    raise
                title, kind = type(before).__name__, "pair" if len(x) == 2 else f"tuple of {len(x)}"
                raise TypeError(
                    f"Sequential: {title} ({before._label}) returns a {kind}, for layers over time the output and the "
                    f"state, which {type(module).__name__} ({module._label}) does not take; put a module between them "
                    "that picks one, or call them one by one"
                ) from error
            before = module
        return x


class ModuleDict(Module):
    """Modules by name, with their parameters registered: `nn.ModuleDict({"de": nn.Linear(2, 2)})["de"]`."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        for name, module in (modules or {}).items():
            self[name] = module

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"ModuleDict: expected a Module, got {type(module).__name__}")
        if "." in name or (hasattr(self, name) and not isinstance(getattr(self, name), Module)):
            raise KeyError(f"ModuleDict: {name!r} cannot be a name here")
        setattr(self, name, module)

    def __getitem__(self, name: str) -> Any:
        return dict(self.named_children())[name]

    def __contains__(self, name: object) -> bool:
        return name in dict(self.named_children())

    def __len__(self) -> int:
        return len(dict(self.named_children()))

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self.named_children()))

    def keys(self) -> Any:
        """The names."""
        return dict(self.named_children()).keys()

    def values(self) -> Any:
        """The modules."""
        return dict(self.named_children()).values()

    def items(self) -> Any:
        """The pairs."""
        return dict(self.named_children()).items()
