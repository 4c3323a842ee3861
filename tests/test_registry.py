"""A registry knows its kinds by name, imports them when they are asked for, and takes those of other packages."""

import subprocess
import sys
from pathlib import Path

import pytest

from aliasing.errors import InputError, UsageError
from aliasing.registry import Registry

GROUP = "aliasing.test_registry"


def install(folder: Path, *points: str) -> None:
    """What a wheel leaves in site-packages: modules, and metadata that name its entry points."""
    (folder / "other.py").write_text("three = 3\n")
    (folder / "failing.py").write_text("raise RuntimeError('built for\\nanother version')\n")
    (folder / "leaving.py").write_text("raise SystemExit('no licence')\n")
    metadata = folder / "other-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *points, ""]))


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_another_package_adds_a_kind(other_package: Path) -> None:
    install(other_package, "three = other:three")
    registry = Registry[int]("number", GROUP, {"one": "math:pi"})
    assert list(registry) == ["one", "three"]
    assert "three" in registry
    assert registry["three"] == 3


def test_a_broken_package_is_told_in_one_line_when_its_kind_is_asked_for(other_package: Path) -> None:
    install(other_package, "1 = absent_module:one", "2 = failing:two", "3 = leaving:three", "4 = other:four")
    registry = Registry[int]("number", GROUP, {})
    assert list(registry) == ["1", "2", "3", "4"]
    for name in registry:
        with pytest.raises(InputError, match=f"^number '{name}' comes from other, which cannot be imported") as error:
            registry[name]
        assert "\n" not in str(error.value)


def test_the_packages_own_names_stay_its_own(other_package: Path) -> None:
    install(other_package, "pi = other:three")
    registry = Registry[float]("number", GROUP, {"pi": "math:pi"})
    with pytest.warns(UserWarning, match="other:three is ignored"):
        assert list(registry) == ["pi"]
    assert registry["pi"] > 3.1
    with pytest.raises(UsageError, match="there is already a number 'pi'"):
        registry.add("pi", 3)


def test_it_is_a_mapping() -> None:
    registry = Registry[float]("number", GROUP, {"pi": "math:pi", "e": "math:e"})
    assert len(registry) == 2
    assert dict(registry)["e"] < 3
    assert registry.get("tau") is None


def test_names_import_nothing() -> None:
    code = (
        "import sys; from aliasing.registry import Registry;"
        "registry = Registry('number', 'none', {'one': 'fractions:Fraction'}); names = list(registry);"
        "assert 'one' in registry and 'fractions' not in sys.modules;"
        "registry['one']; assert 'fractions' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
