from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.instance import InstanceRef

import feature_registry
from feature_registry.cli.instance import configuration

ROOT = Path(feature_registry.__file__).parents[1]


def test_dagster_loads_the_shipped_workspace(tmp_path: Path) -> None:
    loaded = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    assert loaded == {"load_from": [{"python_module": "feature_registry.definitions"}]}
    code = "from feature_registry.definitions import defs; import dagster; dagster.Definitions.validate_loadable(defs)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []  # loading definitions makes no catalog and no state


def test_dagster_keeps_its_state_in_one_folder(tmp_path: Path) -> None:
    ref = InstanceRef.from_dir(str(tmp_path), config_dir=str(ROOT))
    folders = [
        yaml.safe_load(each.config_yaml)["base_dir"]
        for each in (ref.storage_data, ref.local_artifact_storage_data, ref.compute_logs_data)
        if each is not None
    ]
    assert len(folders) == 3
    assert all(Path(folder).parts[:2] == (".feature_registry", "dagster") for folder in folders)
    assert ref.settings["telemetry"] == ref.settings["nux"] == {"enabled": False}
    # What `up` and the demo write is seen by `dagster dev` in a checkout.
    assert yaml.safe_load((ROOT / "dagster.yaml").read_text()) == configuration(
        Path(".feature_registry/dagster"), False
    )


def test_an_instance_of_the_shipped_configuration_writes_there_only(tmp_path: Path) -> None:
    code = (
        "import dagster as dg, sys\n"
        "from dagster._core.instance import InstanceRef\n"
        "ref = InstanceRef.from_dir(sys.argv[1] + '/temporary', config_dir=sys.argv[2])\n"
        "dg.DagsterInstance.from_ref(ref).add_dynamic_partitions('mat_version_minnie65_public', ['1507'])\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(ROOT)], check=True, cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".feature_registry"]
    assert dg.__version__ == "1.13.27"  # what these rules were read from
