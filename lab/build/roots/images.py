# SPDX-License-Identifier: GPL-2.0-or-later
"""The layers of a container's image as a root: docker's archives and OCI layouts, packed in a tar or as a directory.

    index.json, blobs/sha256/...         an OCI layout; its index may name images for several architectures
    manifest.json: [{Config, Layers}]    what `docker save` and `podman save` write, newer ones beside an OCI layout
    manifest.json: {config, layers}      what `skopeo copy ... dir:` writes

What a digest names is compared with the digest. An image for another architecture is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Collection, Iterable
from typing import IO, Any

from lab.arch.record import Arch
from lab.build.roots import packed, tar
from lab.build.roots.tree import MAX_BYTES, MAX_LAYERS, RootTree
from lab.core.cache import Cache
from lab.core.errors import UsageError
from lab.specs import arches

MAX_JSON = 8 << 20
OpenFile = Callable[[str], IO[bytes]]
"""Opens a file of an image by its name; UsageError if there is none."""
DIGEST = re.compile(r"(sha256|sha512):([0-9a-f]{64,128})")
BLOB = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]{64,128})|([0-9a-f]{64})")
"""The name of a file that is called by its digest: in a layout, and in what skopeo writes."""
TOP = frozenset({"usr", "bin", "etc", "lib"})
"""Directories of a root: what has one of them is no image, whatever else lies beside it."""
GO_NAMES = {"386": "i386"}
"""Architectures whose name in images no other program uses."""


def is_image(names: Collection[str]) -> bool:
    """Whether the files of a tar or a directory, by their paths, are those of an image."""
    if TOP & {name.partition("/")[0] for name in names}:
        return False
    layout = "index.json" in names and any(name.startswith("blobs") for name in names)
    return layout or "oci-layout" in names or "manifest.json" in names


def lay(tree: RootTree, names: Collection[str], open_file: OpenFile, arch: Arch, cache: Cache) -> list[str]:
    """Lay the layers of the image for an architecture over a tree, and return notes; UsageError if there is none."""

    def open_blob(name: str) -> IO[bytes]:
        return _verified(tree, name, open_file(name))

    reader = _FoundLayers(tree=tree, open=open_blob, arch=arch)
    layers = None
    if "manifest.json" in names:
        layers = reader.of_manifest(_json(tree, open_blob("manifest.json")), or_none="index.json" in names)
    if layers is None:
        layers = reader.of_index(_json(tree, open_blob("index.json")))
    _lay(tree, layers, open_blob, cache)
    return reader.notes


class _FoundLayers:
    """Finds the names of an image's layers."""

    def __init__(self, *, tree: RootTree, open: OpenFile, arch: Arch) -> None:
        self.tree, self.open, self.arch = tree, open, arch
        self.notes: list[str] = []

    def of_manifest(self, document: object, *, or_none: bool) -> list[str] | None:
        """Return the layers that a manifest.json names; None, if that is allowed, where it has no fitting image."""
        if isinstance(document, dict) and "layers" in document:  # skopeo's, whose blobs lie beside it
            return self._of_image(document, place=lambda _, digits: digits)
        images = _objects(self.tree, document)
        fitting, others = [], []
        for image in images:
            config = image.get("Config")
            named = _architecture(_json(self.tree, self.open(config))) if isinstance(config, str) else ""
            if named in ("", self.arch.name):
                fitting.append(image)
            else:
                others.append(named)
        if not fitting and or_none:
            return None
        chosen = self._first(fitting, others)
        if len(fitting) > 1:
            tags = chosen.get("RepoTags")
            name = tags[0] if isinstance(tags, list) and tags else "the first"
            self.notes.append(f"{len(fitting)} images for {self.arch.name}; {name} is taken")
        return _words(self.tree, chosen.get("Layers"))

    def of_index(self, document: object) -> list[str]:
        """Return the layers of an OCI layout's image."""
        for _ in range(3):  # an index may name an index
            if not isinstance(document, dict) or "manifests" not in document:
                break
            digest = self._fitting(_objects(self.tree, document["manifests"])).get("digest")
            document = _json(self.tree, self.open(_blob(self.tree, digest)))
        if not isinstance(document, dict):
            raise UsageError(f"{self.tree.what}: its manifest is no JSON object")
        return self._of_image(document, place=_in_layout)

    def _of_image(self, manifest: dict[str, Any], *, place: Callable[[str, str], str]) -> list[str]:
        layers = manifest.get("layers")
        if not isinstance(layers, list) or not layers:
            raise UsageError(f"{self.tree.what}: its manifest names no layers")
        if isinstance(config := manifest.get("config"), dict):
            named = _architecture(_json(self.tree, self.open(_blob(self.tree, config.get("digest"), place))))
            if named not in ("", self.arch.name):
                raise UsageError(f"{self.tree.what} is an image for {named}, not for {self.arch.name}")
        names = []
        for layer in layers:
            names.append(_blob(self.tree, layer.get("digest") if isinstance(layer, dict) else None, place))
        return names

    def _fitting(self, manifests: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the manifest of an index that is for the architecture, or the first that does not say for which."""
        named: dict[str, list[dict[str, Any]]] = {}
        for manifest in manifests:
            named.setdefault(_architecture(manifest.get("platform")), []).append(manifest)
        fitting = named.pop(self.arch.name, []) or named.pop("", [])
        return self._first(fitting, named)

    def _first(self, fitting: list[dict[str, Any]], others: Iterable[str]) -> dict[str, Any]:
        if fitting:
            return fitting[0]
        named = [other for other in dict.fromkeys(others) if other != "unknown"]  # docker's notes on how it was built
        what = " and ".join(named) or "no architecture"
        raise UsageError(f"{self.tree.what} is an image for {what}, not for {self.arch.name}")


def _verified(tree: RootTree, name: str, file: IO[bytes]) -> IO[bytes]:
    """Return an open file at its beginning; UsageError if its name is a digest and not that of what is in it."""
    match = BLOB.fullmatch(name)
    if match is None:
        return file
    found, size = hashlib.new(match[1] or "sha256"), 0
    while block := file.read(1 << 20):
        found.update(block)
        size += len(block)
        if size > 2 * MAX_BYTES:
            raise UsageError(f"{tree.what}: {name} is larger than {2 * MAX_BYTES >> 30} GiB")
    if found.hexdigest() != (match[2] or match[3]):
        raise UsageError(f"{tree.what}: {name} is damaged: what is in it has another digest")
    file.seek(0)
    return file


def _architecture(facts: object) -> str:
    """Return the lab's name of the architecture that an image is for, or its own name for it; empty without one."""
    word = facts.get("architecture") if isinstance(facts, dict) else None
    if not isinstance(word, str) or not word:
        return ""
    try:
        return arches.find(GO_NAMES.get(word, word)).name
    except UsageError:
        return word[:40]


def _lay(tree: RootTree, layers: list[str], open_blob: OpenFile, cache: Cache) -> None:
    if len(layers) > MAX_LAYERS:
        raise UsageError(f"{tree.what}: more than {MAX_LAYERS} layers")
    for name in layers:
        try:
            with (
                cache.scratch("layer") as scratch,
                open_blob(name) as file,
                packed.opened(file, scratch, limit=2 * MAX_BYTES) as plain,
                tar.open_stream(plain) as archive,
            ):
                tree.add_layer(archive)
        except (tarfile.TarError, ValueError, *packed.DAMAGE) as error:
            raise UsageError(f"{tree.what}: layer {name[:80]}: {str(error).splitlines()[0]}") from None


def _json(tree: RootTree, file: IO[bytes]) -> Any:
    with file:
        data = file.read(MAX_JSON)
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise UsageError(f"{tree.what}: a manifest that is no JSON") from None


def _objects(tree: RootTree, found: object) -> list[dict[str, Any]]:
    if isinstance(found, list) and found and isinstance(found[0], dict):
        return [each for each in found if isinstance(each, dict)]
    raise UsageError(f"{tree.what}: a manifest that names no image")


def _words(tree: RootTree, found: object) -> list[str]:
    if isinstance(found, list) and found and all(isinstance(word, str) for word in found):
        return found
    raise UsageError(f"{tree.what}: its manifest names no layers")


def _in_layout(kind: str, digits: str) -> str:
    return f"blobs/{kind}/{digits}"


def _blob(tree: RootTree, found: object, place: Callable[[str, str], str] = _in_layout) -> str:
    """Return the name of the file with a blob; only a digest can name one."""
    match = DIGEST.fullmatch(found if isinstance(found, str) else "")
    if match is None:
        raise UsageError(f"{tree.what}: a manifest with a digest that is none")
    return place(match[1], match[2])
