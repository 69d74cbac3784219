"""YAML as settings need it: plain values alone, and no aliases that grow."""

from __future__ import annotations

from typing import Any

import yaml

from effiseg.errors import is_shown

_MOST_NODES = 1_000_000
_MOST_DIGITS = 300


class PlainLoader(yaml.SafeLoader):
    """Constructs texts, numbers, truth values, None, lists and mappings; a date stays the text it is."""


def _number(loader: PlainLoader, node: yaml.ScalarNode) -> Any:
    if len(node.value) > _MOST_DIGITS:
        raise yaml.constructor.ConstructorError(
            None, None, f"a number has at most {_MOST_DIGITS} digits", node.start_mark
        )
    if node.tag.endswith(":int"):
        return loader.construct_yaml_int(node)
    return loader.construct_yaml_float(node)


def _refused(loader: PlainLoader, node: yaml.Node) -> Any:
    raise yaml.constructor.ConstructorError(None, None, f"the tag {node.tag!r} is no plain value", node.start_mark)


PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind in ("int", "float"):
    PlainLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _number)
for _kind in ("timestamp", "binary", "set", "omap", "pairs"):
    PlainLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _refused)


class PlainDumper(yaml.SafeDumper):
    """Writes what `PlainLoader` reads back: control characters, other line ends among them, as escapes."""


def _text(dumper: PlainDumper, value: str) -> yaml.ScalarNode:
    style = None if all(map(is_shown, value)) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


PlainDumper.add_representer(str, _text)


def refuse_hidden_growth(root: yaml.Node) -> None:
    """Refuse aliases of a node inside itself, and aliases of aliases that stand for millions of values.

    Raises:
        YAMLError: the line of the alias' anchor.
    """
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()
    waiting: list[tuple[yaml.Node, bool]] = [(root, False)]
    while waiting:
        node, done = waiting.pop()
        inner = _inner(node)
        if done:
            open_nodes.discard(id(node))
            sizes[id(node)] = 1 + sum(sizes[id(each)] for each in inner)
            if sizes[id(node)] > _MOST_NODES:
                rule = f"stands for more than {_MOST_NODES} values"
                raise yaml.constructor.ConstructorError(None, None, rule, node.start_mark)
        elif id(node) in open_nodes:
            raise yaml.constructor.ConstructorError(None, None, "an alias stands for itself", node.start_mark)
        elif id(node) not in sizes:
            open_nodes.add(id(node))
            waiting.append((node, True))
            waiting += [(each, False) for each in inner]


def _inner(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
