"""The context manager for hooks, through which the inputs and outputs of modules are observed while it is open."""

from collections import Counter
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from torch import nn

See: TypeAlias = Callable[[str, int, tuple[Any, ...], Any], Any]
"""Takes a module's qualified name, the number of its call from 0, its arguments and its output.

What it returns, unless None, takes the place of the output.
"""


@contextmanager
def seen(module: nn.Module, names: Container[str], see: See) -> Iterator[None]:
    """Show each call of the modules with these qualified names to a function, and restore the module afterwards.

    Examples
    --------
    >>> import torch
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> with seen(network, {"1"}, lambda name, call, args, output: print(name, call, tuple(output.shape))):
    ...     _ = network(torch.zeros(3, 2, 2)), network(torch.zeros(1, 2, 2))
    1 0 (3, 2)
    1 1 (1, 2)
    """
    calls: Counter[str] = Counter()

    def hook_of(name: str) -> Callable[..., Any]:
        def hook(_module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            calls[name] += 1
            return see(name, calls[name] - 1, args, output)

        return hook

    handles = [inside.register_forward_hook(hook_of(name)) for name, inside in module.named_modules() if name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
