"""The decorator: one declaration is the Dagster asset, its partitions, columns and checks, and the catalog's entry."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Annotated, Any, get_origin

import dagster as dg
import polars as pl
import pyarrow as pa

from feature_registry.defs import checks, metadata
from feature_registry.defs.declaration import Declaration, Product, Skipped, code_hash, declare
from feature_registry.defs.io_manager import OUTPUT
from feature_registry.defs.partitions import asset_key, dep, mat_version_of, mat_versions, partition_of
from feature_registry.defs.resources import FeatureRegistryResource
from feature_registry.defs.streams import close, metadata_of
from feature_registry.defs.upstream import Source, Step, annotated
from feature_registry.errors import Invalid
from feature_registry.model import Search, TableVersion
from feature_registry.registry import Registry

REGISTRY = "feature_registry"  # keys of the resources
IO_MANAGER = "feature_table_io_manager"

Function = Callable[..., Any]
Dep = str | dg.AssetKey | dg.AssetsDefinition | dg.AssetSpec | dg.AssetDep


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a feature function asks for."""

    context: bool
    upstream: dict[str, Source]
    others: dict[str, inspect.Parameter]  # resources and config, which Dagster knows by their annotations


def feature_table(
    *,
    datastack: str,
    name: str | None = None,
    ins: Mapping[str, str] | None = None,
    deps: Iterable[Dep] = (),
    automation: dg.AutomationCondition[Any] | None = None,
    retry_policy: dg.RetryPolicy | None = None,
    pool: str | None = None,
    **declared: Any,
) -> Callable[[Function], dg.AssetsDefinition]:
    """Declares a feature table that a function computes.

    The function's parameters are the names of upstream tables of the datastack (`pl.LazyFrame`, or `pl.DataFrame` or
    `pa.Table` if annotated so), `context`, `config: dg.Config` and resources by annotation. Beside the arguments below,
    it takes those of `declare`, and the fields of `Metadata`; the docstring is the description if there is no other.

    datastack: the datastack's name
    name: the table's name; None: the function's
    ins: where else a parameter comes from: `{"parent": "other_datastack/nuclei@507"}`
    deps: what must be made before, and is not loaded: tables, asset keys or assets
    automation: when Dagster makes it by itself
    retry_policy: how often Dagster tries again
    pool: the Dagster pool that limits how many run at once

    Raises `Invalid`, when the module is loaded, for what is unknown or contradicts itself.
    """

    def decorate(function: Function) -> dg.AssetsDefinition:
        declaration = declare(datastack, name or function.__name__, **_described(function, declared))
        if declaration.code_version is None:
            declaration = replace(declaration, code_version=code_hash(function))
        parameters = _parameters(function, declaration, ins or {})
        partitions = mat_versions(datastack) if declaration.versioned else None
        asset = dg.multi_asset(
            name="__".join(declaration.asset_key.path),
            deps=_deps(declaration, parameters, deps),
            outs={OUTPUT: _asset_out(declaration, automation)},
            check_specs=checks.specs(declaration, partitions),
            partitions_def=partitions,
            backfill_policy=dg.BackfillPolicy.multi_run(1),
            can_subset=True,
            retry_policy=retry_policy,
            pool=pool,
        )
        return asset(_op(declaration, function, parameters))

    return decorate


def _described(function: Function, declared: dict[str, Any]) -> dict[str, Any]:
    text = inspect.getdoc(function)
    return declared if "description" in declared or not text else {"description": text, **declared}


def _op(declaration: Declaration, function: Function, parameters: Parameters) -> Function:
    """The function of Dagster's op: computes, lets the I/O manager write and register, then checks and publishes."""

    def compute(context: dg.AssetExecutionContext, **given: Any) -> Iterator[Any]:
        registry = given[REGISTRY].registry
        mat_version = mat_version_of(context.partition_key) if declaration.versioned else None
        with ExitStack() as stack:
            value = None
            if OUTPUT in context.op_execution_context.selected_output_names:
                step = Step(declaration.datastack, mat_version, context.run.run_id)
                versions = {name: step.find(registry, source) for name, source in parameters.upstream.items()}
                value = function(**_arguments(context, parameters, given, versions))
                if isinstance(value, Skipped):
                    context.log.warning(value.reason)
                    return
                stack.callback(close, value)
                product = Product(declaration, value, tuple(str(version.ref) for version in versions.values()))
                yield dg.Output(product, OUTPUT)  # the I/O manager has run when this returns
                made = _made(product)
            else:
                made = _standing(declaration, mat_version, registry)
            results = checks.evaluate(declaration.found(metadata_of(value)), made, registry, value)
        entry = registry.record_checks(made.id, results, publish=declaration.publish)
        told = metadata.of_entry(entry)  # the materialization said only what was known before the checks
        context.log_event(
            dg.AssetObservation(declaration.asset_key, partition=partition_of(mat_version), metadata=told)
        )
        selected = {check.name for check in context.selected_asset_check_keys}
        yield from checks.to_dagster(declaration, results, selected)

    compute.__signature__ = _signature(parameters)  # type: ignore[attr-defined]
    compute.__name__, compute.__doc__ = declaration.name, declaration.table.description
    return compute


def _arguments(
    context: dg.AssetExecutionContext, parameters: Parameters, given: dict[str, Any], versions: dict[str, TableVersion]
) -> dict[str, Any]:
    """Of the function: its upstream tables, the resources and config that it asks for, and the context."""
    registry = given[REGISTRY].registry
    arguments = {name: given[name] for name in parameters.others}
    for name, version in versions.items():
        context.log.info(f"{name} is {version.ref}")
        arguments[name] = annotated(registry.scan(version), parameters.upstream[name].annotation)
    return arguments | ({"context": context} if parameters.context else {})


def _signature(parameters: Parameters) -> inspect.Signature:
    """What Dagster reads: the resources and the config of the function, and the registry."""
    kind, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    asked = dict(parameters.others)
    asked.setdefault(REGISTRY, inspect.Parameter(REGISTRY, kind, annotation=FeatureRegistryResource))
    context = inspect.Parameter("context", kind, annotation=dg.AssetExecutionContext)
    return inspect.Signature([context, *(each.replace(kind=kind, default=empty) for each in asked.values())])


def _made(product: Product) -> TableVersion:
    if product.version is None:
        raise Invalid(
            "did not register the table",
            field=IO_MANAGER,
            value="another I/O manager",
            expected="FeatureTableIOManager",
        )
    return product.version


def _standing(declaration: Declaration, mat_version: int | None, registry: Registry) -> TableVersion:
    """The newest revision, a draft too, when only checks are asked for."""
    datastack, name = declaration.datastack, declaration.name
    at: Any = "unversioned" if mat_version is None else mat_version
    drafts = registry.search(
        Search(datastack=datastack, name=name, mat_version=at, status="draft", columns=True)
    ).entries
    made = [registry.find(datastack, name, mat_version), *(entry.version for entry in drafts)]
    found = max((each for each in made if each is not None), key=lambda each: each.revision, default=None)
    return found or registry.describe(f"{datastack}/{name}@{at}").version  # which raises, and says what exists


def _parameters(function: Function, declaration: Declaration, ins: Mapping[str, str]) -> Parameters:
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError as unknown:
        raise Invalid(
            f"an annotation cannot be resolved: {unknown}",
            field="function",
            value=function.__name__,
            expected="types imported at run time, not below TYPE_CHECKING",
        ) from None
    upstream: dict[str, Source] = {}
    others: dict[str, inspect.Parameter] = {}
    for name, parameter in signature.parameters.items():
        if name in ins or not (name == "context" or _is_dagsters(parameter.annotation)):
            upstream[name] = _source(declaration, parameter, ins.get(name))
        elif name != "context":
            others[name] = parameter
    for name in ins:
        if name not in upstream:
            raise Invalid("is no parameter of the function", field="ins", value=name, expected=sorted(upstream))
    return Parameters("context" in signature.parameters, upstream, others)


def _source(declaration: Declaration, parameter: inspect.Parameter, table: str | None) -> Source:
    accepted = (inspect.Parameter.empty, pl.LazyFrame, pl.DataFrame, pa.Table)
    named = parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if not named or parameter.annotation not in accepted:
        raise Invalid(
            f"is no input of {declaration.name}",
            field=f"parameter {parameter.name}",
            value=str(parameter),
            expected="a named pl.LazyFrame, pl.DataFrame, pa.Table, a Dagster resource or config",
        )
    source = Source.parse(table or parameter.name, declaration.datastack, parameter.annotation)
    if source.asset_key == declaration.asset_key:
        raise Invalid("is the table itself", field="ins", value=source.text, expected="an upstream table")
    return source


def _is_dagsters(annotation: Any) -> bool:
    """Whether Dagster fills the parameter by itself."""
    if get_origin(annotation) is Annotated:
        return "resource_param" in annotation.__metadata__
    kinds = (dg.ConfigurableResource, dg.ResourceDefinition, dg.Config)
    return isinstance(annotation, type) and issubclass(annotation, kinds)


def _asset_out(declaration: Declaration, automation: dg.AutomationCondition[Any] | None) -> dg.AssetOut:
    return dg.AssetOut(
        key=declaration.asset_key,
        is_required=False,
        dagster_type=dg.Any,
        io_manager_key=IO_MANAGER,
        metadata=metadata.of_declaration(declaration),
        code_version=declaration.code_version,
        automation_condition=automation,
        **metadata.of_asset(declaration.table, declaration.format),
    )


def _deps(declaration: Declaration, parameters: Parameters, deps: Iterable[Dep]) -> list[dg.AssetDep]:
    """What must be made before: the inputs, what was named, and the parents that the reference checks read.

    They are no inputs in Dagster's sense, because those must be defined in the same place, and a table from outside
    need not be known to Dagster at all.
    """
    own = declaration.datastack
    inputs = [source.asset_key for source in parameters.upstream.values()]
    parents = [asset_key(own, target.rpartition(".")[0]) for target in declaration.table.references.values()]
    mapped = {each.asset_key: each for each in deps if isinstance(each, dg.AssetDep)}
    named = [
        Source.parse(each, own).asset_key if isinstance(each, str) else dg.AssetDep(each).asset_key
        for each in deps
        if not isinstance(each, dg.AssetDep)
    ]
    keys = dict.fromkeys([*inputs, *mapped, *named, *parents])
    return [mapped.get(key) or dep(key, own) for key in keys if key != declaration.asset_key]
