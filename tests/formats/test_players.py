"""NAM files as the neural-amp-modeler package plays them: 0.12 the legacy schema, 0.13 the current one.

    pip install 'jaxalias[players,test]' 'neural-amp-modeler==0.12.3' && pytest tests/formats/test_players.py  # 0.13.0

The package is read, not imported, for its version: a test that finds another one, or none, is skipped and says so.
"""

import json
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from nam_documents import ALL, FOR_PLAYER_12, FOR_PLAYER_13
from test_weights_import import esr_db, load, play_network

import weights_import

AGREED_DB = -100.0
"""The package computes in float32 and takes a scale and slopes from the config that the file's weights hold rounded."""
LONGEST = 9000  # samples; the longest receptive field is 6347


def nam_output(document: dict, x: np.ndarray, version: str) -> np.ndarray:
    """What the package makes of x after silence; skips where it is not there, or another."""
    try:
        found = metadata.version("neural-amp-modeler")
    except metadata.PackageNotFoundError:
        pytest.skip("neural-amp-modeler is not installed: no player to compare with (pip install 'jaxalias[players]')")
    if not found.startswith(f"{version}."):
        pytest.skip(f"neural-amp-modeler {found} does not read this schema, {version} does")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from nam.models import _from_nam

        # 0.12 changes what it reads
        model = _from_nam.init_from_nam(json.loads(json.dumps(document))).double().eval()
        with torch.no_grad():
            return model(torch.from_numpy(x), pad_start=True).numpy()


@pytest.mark.parametrize("name", FOR_PLAYER_13)
def test_current_files_sound_as_in_nam_13(tmp_path: Path, name: str) -> None:
    x = np.random.default_rng(3).normal(0, 0.5, 200)
    expected = nam_output(ALL[name], x, "0.13")
    assert esr_db(play_network(load(tmp_path, ALL[name]).network, x), expected) < AGREED_DB


@pytest.mark.parametrize("name", FOR_PLAYER_12)
def test_legacy_files_sound_as_in_nam_12(tmp_path: Path, name: str) -> None:
    x = np.random.default_rng(3).normal(0, 0.5, 200)
    expected = nam_output(ALL[name], x, "0.12")
    assert esr_db(play_network(load(tmp_path, ALL[name]).network, x), expected) < AGREED_DB


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("BossWN-a2", "0.13"),
        ("core_A2", "0.13"),
        ("core_wavenet", "0.12"),
        ("keith_ds1_maxgain", "0.12"),
        ("tudor_ts_mini_lite", "0.12"),
        ("sascha_friedman_feather", "0.12"),
        ("broadcast_tcn_teacher", "0.12"),
        ("core_lstm", "0.13"),
        ("BossLSTM-1x16", "0.12"),
    ],
)
def test_real_files_sound_as_in_the_package(data_dir: Path, name: str, version: str) -> None:
    """Sub-models of a container one by one; the package does not read containers."""
    loaded = weights_import.load(data_dir / f"models/nam/{name}.nam")
    x = np.random.default_rng(3).normal(0, 0.2, LONGEST)
    documents = [held["model"] for held in loaded.document["config"].get("submodels", [])] or [loaded.document]
    for document, network in zip(documents, loaded.networks, strict=True):
        expected = nam_output(document, x, version)
        assert esr_db(play_network(network, x), expected) < AGREED_DB, network.name
