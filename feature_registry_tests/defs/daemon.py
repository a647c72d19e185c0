"""What Dagster's daemon does, in this process and at once: ticks of the sensors, and the runs that they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import dagster as dg

from feature_registry.defs.build import build_defs
from feature_registry.settings import Settings
from feature_registry_tests.defs.workshop import QUIET, Workshop

Asked = set[tuple[str, str | None]]


class Daemon:
    """Loads the code location again before each tick."""

    def __init__(self, workshop: Workshop, settings: Settings, modules: Sequence[ModuleType] = ()) -> None:
        self.workshop, self.settings, self.modules = workshop, settings, modules
        self.cursors: dict[str, str | None] = {}

    @property
    def definitions(self) -> dg.Definitions:
        return build_defs(self.modules, self.settings, self.workshop.resources)

    def sense(self) -> str:
        """A tick of `new_versions`; why nothing came of it, if that is so."""
        definitions = self.definitions
        answer = self._tick(definitions, definitions.get_repository_def().get_sensor_def("new_versions"))
        for request in answer.dynamic_partitions_requests or ():
            self.workshop.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        assert not answer.run_requests
        return answer.skip_message or ""

    def tick(self) -> Asked:
        """(datastack/table, partition) of what declarative automation asks for."""
        definitions = self.definitions
        requests = [
            request
            for sensor in definitions.get_repository_def().sensor_defs
            if isinstance(sensor, dg.AutomationConditionSensorDefinition)
            for request in self._tick(definitions, sensor).run_requests or ()
        ]
        return {
            ("/".join(key.path), request.partition_key) for request in requests for key in request.asset_selection or ()
        }

    def make(self, asked: Asked, succeeds: bool = True) -> None:
        """Each in a run of its own."""
        definitions = self.definitions
        for table, partition in sorted(asked, key=str):
            key = dg.AssetKey(table.split("/"))
            made = definitions.resolve_job_def(f"materialize_{key.path[0]}").execute_in_process(
                partition_key=partition,
                asset_selection=[key],
                instance=self.workshop.instance,
                run_config=QUIET,
                raise_on_error=succeeds,
            )
            assert made.success == succeeds

    def _tick(self, definitions: dg.Definitions, sensor: dg.SensorDefinition) -> Any:
        context = dg.build_sensor_context(
            instance=self.workshop.instance,
            definitions=definitions,
            resources=self.workshop.sensed if sensor.name == "new_versions" else None,
            cursor=self.cursors.get(sensor.name),
            sensor_name=sensor.name,
        )
        answer = sensor.evaluate_tick(context)
        self.cursors[sensor.name] = answer.cursor
        return answer
