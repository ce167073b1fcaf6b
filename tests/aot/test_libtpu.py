"""Compiled for real TPU topologies by libtpu, on a machine without one (minutes a network)."""

import os

import pytest

pytestmark = pytest.mark.aot
MESHES = {
    "data": (),
    "fsdp": ("--config.mesh.data=1", "--config.mesh.fsdp=8"),
    "tensor": ("--config.mesh.data=4", "--config.mesh.tensor=2"),
}
SCAN = ("--config.execution.scan_layers=True", "--config.execution.remat=full")


@pytest.mark.parametrize(
    ("topology", "chips", "kind"),
    [
        ("v4:2x2x2", 8, "TPU v4"),
        ("v5e:2x2", 4, "TPU v5 lite"),
        ("v5p:2x2x1", 4, "TPU v5"),
        ("v6e:2x2", 4, "TPU v6 lite"),
    ],
)
def test_every_family_of_chips_compiles_and_is_priced(topology, chips, kind, compiled):
    status, found, _ = compiled("pretrain_base.py:smoke", topology, "--rows", "2", SCAN[0])
    assert status == 0 and found["fits"]
    assert (found["devices"], found["device"]) == (chips, kind)
    assert found["time"]["compute"] > 0 and found["time"]["source"] == "compiler's cycles"
    assert found["flops"]["compiled"] > 0.9 * found["flops"]["model"]
    assert found["unknown_loops"] == []


def test_the_schedules_give_a_second_estimate_with_the_limiting_units(compiled, tmp_path):
    folder = tmp_path / "schedules"
    status, found, _ = compiled(
        "pretrain_base.py:smoke", "v5e:1x1", "--rows", "2", SCAN[0], "--schedules", str(folder)
    )
    second = found["schedule"]
    assert status == 0 and 0 < second["seconds"] < 10 * found["time"]["compute"]
    assert len(second["top"]) == 10 and second["without"] == 0
    assert all(row["unit"] == "HBM" or row["schedule"] > 0 for row in second["top"])
    assert sum(part["seconds"] for part in second["parts"].values()) == pytest.approx(
        second["seconds"]
    )
    passes = {name.rsplit("-", 1)[-1] for name in os.listdir(folder) if "-TLP-" not in name}
    assert passes == {"analysis_final_bundles.txt", "final_bundles.txt", "utilization.txt"}


def test_two_slices_exchange_gradients_over_the_data_center(compiled):
    status, found, _ = compiled(
        "pretrain_base.py:smoke", "v5e:2x2", "--slices", "2", "--rows", "2", SCAN[0]
    )
    assert status == 0 and (found["devices"], found["slices"]) == (8, 2)
    assert found["dcn_bytes"] > 0


def test_a_batch_far_too_large_does_not_fit(compiled):
    status, found, error = compiled("pretrain_base.py:smoke", "v5e:2x2", "--rows", "65536", SCAN[0])
    assert status == 2 and not found["fits"]
    assert found["hbm"]["total"] > found["capacity"]
    assert "does not fit" in error


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize(
    ("recipe", "rows"), [("pretrain_base.py", "6"), ("pretrain_large.py:lv60k_2021", "4")]
)
def test_the_published_networks_sum_their_gradients_once(recipe, rows, mesh, compiled):
    options = ("--rows", rows, "--config.data.row_multiple=1", *SCAN, *MESHES[mesh])
    options += ("--config.data.batch_seconds=1.0",)  # one microbatch
    _, found, _ = compiled(recipe, "v5p:2x2x2", *options)
    assert found["gradient_bytes_reduced"] == pytest.approx(found["gradient_bytes"], rel=0.05)


def test_microbatches_are_added_up_before_their_gradients_cross_the_data_axis(compiled):
    options = ("--rows", "4", "--config.data.row_multiple=1", *SCAN, "--config.model.num_layers=2")
    options += ("--config.data.batch_seconds=2560.0",)  # 128 rows of 20 s on 8 chips
    _, found, _ = compiled("pretrain_large.py:lv60k_2021", "v5p:2x2x2", *options)
    assert found["accumulate"] == 4
    assert found["gradient_bytes_reduced"] == pytest.approx(found["gradient_bytes"], rel=0.05)
