"""Writes what feature functions return and registers it as a draft; loads upstream tables and notes which they were."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from feature_registry.defs import metadata, writing
from feature_registry.defs.declaration import Product, checked_layouts, declare
from feature_registry.defs.partitions import mat_version_of
from feature_registry.defs.resources import FeatureRegistryResource, free_home
from feature_registry.defs.streams import close, is_rows, metadata_of, stream
from feature_registry.defs.upstream import Source, Step, annotated
from feature_registry.errors import Invalid, RegistryError
from feature_registry.location import Location
from feature_registry.model import Producer, Registration, Report, Written
from feature_registry.policy import missing_to_publish
from feature_registry.registry import Registry, publishing

OUTPUT = "result"


class FeatureTableIOManager(dg.ConfigurableIOManager):
    """Every output becomes a registered table version; every input is a table of the registry, wherever it was made.

    The asset key is `[datastack, name]`, the partition key is the materialization version. Outputs are drafts. One of a
    `@feature_table(publish=True)` is published when its blocking checks pass, that of any other asset at once if its
    metadata say `feature_registry/publish: True`.
    """

    feature_registry: FeatureRegistryResource

    # (run, step) -> input -> the exact reference that an asset without `@feature_table` loaded
    _loaded: dict[tuple[str, str], dict[str, str]] = PrivateAttr(default_factory=dict)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        registry = self.feature_registry.registry
        product = obj if isinstance(obj, Product) else replace(_undeclared(context, registry), value=obj)
        mat_version = mat_version_of(context.partition_key) if product.declaration.versioned else None
        loaded = self._loaded.pop((context.run_id, context.step_key), {})
        said = product.value.derived_from if isinstance(product.value, Written) else ()
        product.derived_from = tuple(sorted({*product.derived_from, *loaded.values(), *said}))
        try:
            written = _write(registry, product, mat_version, context.run_id)
            registration = _registration(product, mat_version, context.run_id, written)
            report = _register(registry, registration, product.value)
        except BaseException:
            close(product.value)  # the function's step, which closes it after the checks, is not resumed
            raise
        product.version = report.entry.version
        context.add_output_metadata(metadata.of_version(report.entry, registry.settings.api_address))
        context.step_context.set_data_version(context.asset_key, dg.DataVersion(metadata.data_version(report.entry)))

    def load_input(self, context: dg.InputContext) -> Any:
        registry, run_id, step = self.feature_registry.registry, context.step_context.run_id, context.step_context.step
        mat_version = mat_version_of(context.partition_key) if context.has_partition_key else None
        source = Source.parse("/".join(context.asset_key.path), context.asset_key.path[0])
        version = Step(source.ref.datastack, mat_version, run_id).find(registry, source)
        self._loaded.setdefault((run_id, step.key), {})[context.name] = str(version.ref)
        context.log.info(f"{context.name} is {version.ref}")
        return annotated(registry.scan(version), context.dagster_type.typing_type)


def _undeclared(context: dg.OutputContext, registry: Registry) -> Product:
    """What an asset without `@feature_table` says of itself."""
    key = context.asset_key.path
    if len(key) != 2:
        raise Invalid("names no feature table", field="asset key", value="/".join(key), expected="[datastack, name]")
    spec = context.step_context.job_def.asset_layer.get(context.asset_key).assets_def.specs_by_key[context.asset_key]
    declaration = declare(*key, versioned=context.has_asset_partitions, publish=False, **metadata.of_spec(spec))
    missing = missing_to_publish(declaration.table, publishing.needs(registry, declaration.table))
    publish = metadata.publishes(spec)
    if publish and missing:
        context.log.warning(f"{'/'.join(key)} stays a draft: the asset says no {' and no '.join(missing)}")
    return Product(replace(declaration, code_version=spec.code_version), None, publish=publish and not missing)


def _write(registry: Registry, product: Product, mat_version: int | None, run_id: str) -> dict[str, Any]:
    """Fields of the registration: where the table is, and what was found out about it.

    A write that fails leaves no file behind.
    """
    declaration, value = product.declaration, product.value
    if isinstance(value, Written):
        where = {"location": value.location, "format": value.format, "snapshot": value.snapshot}
        return where | {"layouts": value.layouts} | metadata_of(value)
    reader = stream(value, declaration.name)
    found = metadata_of(value)
    home = free_home(registry, declaration.datastack, declaration.name, mat_version, run_id)
    layouts = checked_layouts(getattr(value, "layouts", ()) if is_rows(value) else ()) or declaration.layouts
    try:
        written = writing.write(registry.store(home), home, reader, declaration.found(found), layouts)
    except BaseException:
        _remove(registry, home)
        raise
    return written | found


def _registration(product: Product, mat_version: int | None, run_id: str, written: dict[str, Any]) -> Registration:
    declaration = product.declaration
    return Registration(
        datastack=declaration.datastack,
        name=declaration.name,
        mat_version=mat_version,
        producer=Producer(
            pipeline=f"dagster:{declaration.datastack}/{declaration.name}",
            code_version=declaration.code_version,
            run_id=run_id,
        ),
        derived_from=product.derived_from,
        publish=product.publish,
        **(declaration.metadata | written),
    )


def _register(registry: Registry, registration: Registration, value: Any) -> Report:
    try:
        if (standing := _standing(registry, registration)) is not None:
            if not isinstance(value, Written):
                _remove(registry, registration.location)
            return standing
        _check_rows(registry, registration, value)
        return registry.register(registration, by_pipeline=True)
    except Invalid:
        if not isinstance(value, Written):
            _remove(registry, registration.location)
        raise


def _standing(registry: Registry, registration: Registration) -> Report | None:
    """What an earlier attempt of this very run wrote, which it writes once: a draft gives way to what is tried again,
    and what was published stays.
    """
    said, run_id = registration, registration.producer.run_id
    version = registry.find(said.datastack, said.name, said.mat_version, run_id)
    if version is None or version.producer.run_id != run_id or version.inspection.location == said.location:
        return None
    if version.status == "draft":
        registry.unregister(version.id, force=True)
        return None
    return Report(entry=registry.describe(version.id), created=False, checks=version.checks)


def _check_rows(registry: Registry, registration: Registration, value: Any) -> None:
    """Where a function that wrote by itself says how many rows it wrote, the files must hold as many."""
    if isinstance(value, Written) and value.rows is not None:
        seen = registry.preview(registration).entry.version.inspection.rows
        if seen != value.rows:
            raise Invalid("is not what the files hold", field="rows", value=value.rows, expected=seen)


def _remove(registry: Registry, home: Location) -> None:
    """As far as it can be done; the error that led here matters more."""
    with contextlib.suppress(RegistryError, OSError):
        store = registry.store(home)
        for stored in list(store.list(home)):
            store.delete(stored.location)
