"""All that is private of Hydra and OmegaConf and that we use: to look at when a version changes.

tests/config/test_hydra_internals.py holds each of them to what it is used for.
"""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any, cast

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def loader(conf: Path, config_dir: Path | None = None) -> Any:
    """Return Hydra's loader of these folders: it composes, and knows the options of groups."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.utils import JobRuntime

    JobRuntime.instance().set("name", "train")
    search_path = create_config_search_path(f"file://{conf.absolute()}")
    if config_dir is not None:
        anchor = SearchPathQuery(provider="schema")
        search_path.prepend("command-line", f"file://{config_dir.absolute()}", anchor)
    return ConfigLoaderImpl(search_path)


def is_choice(loader: Any, override: Any) -> bool:
    """Tell the choice of a group from a value."""
    is_group = loader.repository.group_exists(override.key_or_group)
    return is_group and not isinstance(override.value(), dict)


def with_value(override: Any, value: Any) -> Any:
    """Return the override with one of its values."""
    from hydra.core.override_parser.types import ValueType

    single = copy(override)
    single._value, single.value_type = value, ValueType.ELEMENT
    single.input_line = f"{override.get_key_element()}={single.get_value_element_as_str()}"
    return single


def set_values(overrides: Sequence[Any], composed: Any) -> None:
    """Set the values of parsed overrides in a composed config, as Hydra does it itself."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), composed)


def arguments_parser() -> Any:
    """Return the parser of Hydra's own options."""
    from hydra._internal.utils import get_args_parser

    return get_args_parser()


def skip_listing_groups() -> None:
    """Keep Hydra from listing the groups for --help: our page has its own list of them.

    It copies all configs once for each group, which takes longer than all the rest.
    """
    from hydra._internal.hydra import Hydra

    cast("Any", Hydra).format_config_groups = lambda *arguments, **options: ""


def install_yaml_scanner() -> None:
    """Look at each yaml file before Hydra reads it: size, aliases, tags, keys that stand twice.

    Done where Hydra reads, so that it is done for the files that a run uses and for no others.
    """
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra.core.plugins import Plugins

    from tunesmith.config.yaml_safety import scan

    Plugins.instance()  # registers the sources, from modules that it imports for itself
    files: Any = SourcesRegistry.instance().types["file"]
    read = files.load_config
    if getattr(read, "scans", False):
        return

    def load_config(self: Any, config_path: str) -> Any:
        path = Path(self.path, self._normalize_file_name(config_path))
        if path.is_file():
            scan(path)
        return read(self, config_path)

    cast("Any", load_config).scans = True
    files.load_config = load_config


def plain_yaml(values: Any) -> str:
    """Write plain values as `OmegaConf.to_yaml` does, in a third of its time: no config is made."""
    import yaml
    from omegaconf._utils import get_omega_conf_dumper

    class Dumper(get_omega_conf_dumper()):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(
        values,
        default_flow_style=False,
        allow_unicode=True,
        sort_keys=False,
        Dumper=Dumper,
    )
