"""Priors and devices: every value has a spread and a source, and rests in its spread."""

import pytest

from loadpath.forecast.devices import measured_priors, shipped_devices
from loadpath.forecast.priors import assume, shipped_priors


@pytest.mark.parametrize("prior", shipped_priors().values(), ids=lambda p: p.name)
def test_prior_lies_in_its_spread_and_names_its_source(prior):
    assert 0 <= prior.low <= prior.value <= prior.high
    assert prior.low < prior.high
    assert prior.source
    assert prior.about


@pytest.mark.parametrize("device", shipped_devices().values(), ids=lambda d: d.name)
def test_device_is_plausible_and_names_its_sources(device):
    assert device.specified
    assert device.measured
    assert device.held
    assert 10 < max(device.tflops.values()) / device.memory_gb_per_s * 1e3 < 3000
    assert device.network_gb_per_s < device.link_gb_per_s
    for name, (value, low, high, source) in measured_priors(device).items():
        assert name in shipped_priors()
        assert 0 < low <= value <= high <= 1
        assert source


def test_named_accelerators_are_there():
    names = " ".join(shipped_devices())
    for kind in ("V100", "A100-SXM4-40GB", "A100-SXM4-80GB", "H100-PCIe", "H100-SXM5", "H200", "B200",
                 "GB200", "GB300", "MI300X", "TPU-v4", "TPU-v5p"):  # fmt: skip
        assert kind in names


def test_design_goes_before_device_and_device_before_what_is_shipped():
    device = shipped_devices()["H100-SXM5-80GB"]
    measured = measured_priors(device)
    assert assume({}, {})["gemm_ratio"].source == "the device's row in devices.toml"
    assert assume({}, measured)["gemm_ratio"].value == device.gemm_ratio[0]
    chosen = assume({"gemm_ratio": 0.5}, measured)["gemm_ratio"]
    assert (chosen.value, chosen.low, chosen.high) == (0.5, 0.5, 0.5)
