"""Which number a call has among those of its function: how a rewrite finds it again while a module runs."""

from collections.abc import Mapping

from aliasing.sites.trace import Call, ModuleCall, Recording

__all__ = ["number_of", "once"]


def number_of(record: Recording, call: Call, holders: Mapping[Call, ModuleCall]) -> int:
    """The number of calls of its function that the mode of its holder sees before it.

    ``holders`` maps each rewritten call to the module call around it whose mode rewrites it. That mode also sees the
    calls of the modules inside, except those that inner modes rewrite and thereby hide.
    """
    holder = holders[call]
    before = record.calls[holder.first : call.index]
    return sum(c.name == call.name and not (c in holders and _is_inside(holders[c], holder)) for c in before)


def _is_inside(module: ModuleCall, outer: ModuleCall) -> bool:
    while module.parent is not None:
        module = module.parent
        if module is outer:
            return True
    return False


def once(record: Recording, call: Call) -> ModuleCall:
    """The innermost module around a call that runs once; one ReLU may serve many layers."""
    module = call.module
    while module.parent is not None and len(record.calls_of(module.module)) > 1:
        module = module.parent
    return module
