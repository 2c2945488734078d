"""What is played: the figures against slow ones and closed forms, and the sets that the project makes."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import soundfile
from losses.test_nmr import slow_nmr

from jaxalias import evaluation, models
from jaxalias.config import LSTMConfig
from jaxalias.evaluation import Candidate, played
from jaxalias.evaluation.played import Sums
from jaxalias.signals import high_playing
from jaxalias.targets import oversampling

RATE = 16_000
FRAME, HOP = 2048, 1024


def cube(x: jnp.ndarray) -> jnp.ndarray:
    return x**3


def quieter(x: jnp.ndarray) -> jnp.ndarray:
    return 0.9 * x**3


def at(play, factor: int, path: str = "t", role: str = "teacher") -> Candidate:
    return Candidate(path, role, oversampling.oversample(play, factor), factor)


def sine(hz: float, samples: int = RATE) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(samples) / RATE)[None]


def test_sums_against_slow_ones() -> None:
    random = np.random.default_rng(0)
    reference = random.normal(size=5 * HOP + 100) * np.repeat([1e-4, 1.0, 1e-5], [2000, 2220, 1000])
    y = reference + 1e-5 * random.normal(size=reference.size)
    (found,) = played.compare(y[None], reference[None], RATE)
    starts = range(0, reference.size - FRAME + 1, HOP)
    frames = [slow_nmr(y[s : s + FRAME], reference[s : s + FRAME], RATE) for s in starts]
    assert found.frames == len(frames) == 4
    assert found.error == pytest.approx(np.sum((y - reference) ** 2))
    assert found.power == pytest.approx(np.sum(reference**2))
    assert found.noise_over_mask == pytest.approx(sum(frames), rel=1e-6)
    assert found.audible == sum(ratio > 0.1 for ratio in frames)


def test_frames_are_counted_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, y = np.random.default_rng(1).normal(size=(2, 2, 9 * HOP + 3))
    whole = played.compare(y, reference, RATE)
    monkeypatch.setattr(played, "_FRAMES_AT_ONCE", 3)
    for one, other in zip(whole, played.compare(y, reference, RATE), strict=True):
        np.testing.assert_allclose(one, other)


def test_a_silent_reference_hides_what_the_ear_would_hear() -> None:
    reference, hum = np.zeros((1, 6 * HOP)), np.tile(sine(1000.0, HOP), 6)
    reference[0, 4 * HOP :] = 0.5  # a constant is silence too; only the frame with the step is none
    (found,) = played.compare(reference + hum, reference, RATE)
    assert (found.frames, found.audible) == (5, 1)
    (heard,) = played.compare(2 * hum, hum, RATE)
    assert heard.audible == 5


def test_figures_and_the_reasons_for_none() -> None:
    two = [Sums(1.0, 4.0, 0.5, 1, 4), Sums(3.0, 36.0, 0.5, 2, 6)]
    found = played.figures(two)
    assert found["ESR"] == pytest.approx(-10) and found["NMR"] == pytest.approx(-10)
    assert found["audible"] == pytest.approx(0.3) and played.reasons(two) == {}
    silent, short, same = [Sums(1.0, 0.0, 2.0, 0, 4)], [Sums(1.0, 1.0, 0.0, 0, 0)], [Sums(0.0, 1.0, 1e-9, 0, 4)]
    assert played.figures(silent)["ESR"] is None and "silent" in played.reasons(silent)["ESR"]
    assert played.figures(short) == {"ESR": 0.0, "NMR": None, "audible": None}
    assert "shorter than one frame" in played.reasons(short)["audible"]
    assert played.figures(same) == {"ESR": None, "NMR": None, "audible": 0.0}
    assert "perfect match" in played.notes(same, two)["self ESR"] and len(played.notes(same, two)) == 2


def test_the_alias_of_a_cube_in_closed_form() -> None:
    """sin^3 = 3/4 sin - 1/4 sin 3: at a fifth of the rate, the last folds, and it is a ninth of what stays."""
    found = played.measure([Candidate("t", "teacher", cube), Candidate("s", "student", quieter)], sine(RATE / 5), RATE)
    teacher, student = (played.record(model.own, model.teacher) for model in found.models)
    ninth = 10 * np.log10(1 / 9)
    assert teacher["self"]["ESR"] == pytest.approx(ninth, abs=0.02)
    assert teacher["self"] == teacher["alias_free"] and teacher["self"]["audible"] == 1
    assert student["self"]["ESR"] == pytest.approx(ninth, abs=0.02)
    assert student["alias_free"]["ESR"] == pytest.approx(10 * np.log10(0.1**2 + 0.9**2 / 9), abs=0.02)
    np.testing.assert_allclose(found.alias_free[0, 200:-200], 0.75 * sine(RATE / 5)[0, 200:-200], atol=0.02)


def test_a_linear_model_has_no_aliases() -> None:
    found = played.measure(
        [Candidate("t", "teacher", lambda x: 0.5 * x)], np.random.default_rng(0).normal(size=(1, RATE)), RATE
    )
    assert played.figures(found.models[0].own)["audible"] == 0
    assert found.models[0].own[0].error < 1e-3 * found.models[0].own[0].power  # its part at Nyquist alone


def test_oversampled_ones_are_what_they_say() -> None:
    """The copies that are shared give what each rate by itself does; the highest is the reference itself."""
    play = lambda x: jnp.tanh(5 * x)  # noqa: E731
    candidates = [at(play, 1), at(play, 2), at(play, 3), at(play, 8)]
    x = 0.5 * sine(2_000.0) + 0.3 * sine(2_345.6)
    steps: list[str] = []
    found = played.measure(candidates, x, RATE, steps.append, rivals=(2, 4))
    native, twice, thrice, reference = (played.figures(model.own) for model in found.models)
    assert steps == ["t"] * 4 and list(found.rivals) == [4]
    assert native["ESR"] > twice["ESR"] > thrice["ESR"] > played.figures(found.rivals[4].own)["ESR"]
    assert reference["ESR"] is None and reference["audible"] == 0
    (alone,) = played.render(lambda x: [candidates[1].play(x)], x, RATE)
    np.testing.assert_allclose(found.models[1].output, alone, atol=1e-9)


def test_models_that_cannot_be_measured_are_named() -> None:
    with pytest.raises(ValueError, match=r"s\.nam: must stand before its 2x"):
        played.measure([Candidate("t", "teacher", cube), at(cube, 2, "s.nam", "student")], sine(1000.0), RATE)
    with pytest.raises(ValueError, match=r"t\.nam: .*not finite"):
        played.measure([Candidate("t.nam", "teacher", lambda x: x / 0)], sine(1000.0), RATE)


def test_a_long_clip_in_pieces_is_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model with a memory, and a piece that begins in the middle of a note."""
    model = models.build(LSTMConfig(hidden_size=3))
    candidate = Candidate("t", "teacher", evaluation.player(model, model.init(jax.random.key(0)), "float64"))
    x = 20 * sine(1_234.5, 2 * RATE + 77)  # loud: it distorts
    whole = played.measure([candidate], x, RATE).models[0]
    monkeypatch.setattr(played, "PIECE_S", 1.0)
    parts = played.measure([candidate], x, RATE).models[0]
    np.testing.assert_allclose(parts.output, whole.output, atol=1e-6)
    assert parts.own[0].error == pytest.approx(whole.own[0].error, rel=1e-2)


def test_a_clip_that_is_cut_in_a_note_keeps_its_figures() -> None:
    """Neither the start of a model nor the ends of a resampled clip are measured."""
    play = lambda x: jnp.tanh(8 * x + 0.3)  # noqa: E731
    long = 0.5 * sine(440.0, 2 * RATE)
    figures = [
        played.figures(played.measure([Candidate("t", "teacher", play)], x, RATE).models[0].own)
        for x in (long, long[:, 1357 : 1357 + RATE])
    ]
    assert figures[0]["ESR"] == pytest.approx(figures[1]["ESR"], abs=0.5)
    assert figures[0]["NMR"] == pytest.approx(figures[1]["NMR"], abs=1.0)


def test_own_sets_hold_every_kind_of_note_at_both_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    for kind in ("single_notes", "bend", "two_notes", "pinched_harmonics"):
        make = getattr(high_playing, kind)
        monkeypatch.setattr(
            high_playing, kind, lambda *given, make=make, kind=kind: (drawn.append(kind), make(*given))[1]
        )
    x = played.own_sets(48_000)
    assert x.shape == (3, 480_000) and len(set(drawn)) == 4
    np.testing.assert_allclose(np.max(np.abs(x[1:]), axis=1), [0.9, 0.25])
    assert 0.22 < np.max(np.abs(x[0])) <= 0.9
    np.testing.assert_allclose(x[2] / 0.25, x[1] / 0.9, atol=1e-12)
    pieces = np.max(np.abs(x[1].reshape(8, -1)), axis=1)
    assert np.all(pieces > 0.8)  # a fade takes from a note that begins a piece


def test_own_sets_are_the_same_notes_at_every_rate_and_no_training_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(played, "SECONDS", 2.5)
    at_24_khz, at_48_khz = played.own_sets(24_000), played.own_sets(48_000)
    halved = scipy.signal.resample_poly(at_48_khz, 1, 2, axis=1)
    assert np.sum((at_24_khz - halved) ** 2) < 1e-2 * np.sum(halved**2)  # what lies about 12 kHz aside
    for seed in (0, 1):
        training = high_playing.high_playing(2.5, 48_000, seed, quietest_db=0.0)
        assert np.abs(np.corrcoef(training, at_48_khz[1])[0, 1]) < 0.1


def test_record_of_a_set_has_both_levels_of_high_playing() -> None:
    sums = [Sums(1.0, 10.0, 1.0, 1, 10), Sums(1.0, 100.0, 2.0, 2, 10), Sums(1.0, 10.0, 4.0, 8, 10)]
    comparison = played.Comparison(np.zeros((3, 1)), sums, sums)
    assert set(played.record_of_set("playing", comparison)) == {"self", "alias_free"}
    high = played.record_of_set("high_playing", comparison)
    assert high["self"]["audible"] == 0.5
    assert [(level["peak"], level["self"]["audible"]) for level in high["levels"]] == [(0.9, 0.2), (0.25, 0.8)]


def found_by(data_dir: Path, x: np.ndarray, rate: int, *paths: str) -> list[played.Comparison]:
    weights_import = pytest.importorskip("weights_import")
    candidates = []
    for path, role in zip(paths, ("teacher", "student"), strict=False):
        network = weights_import.load(data_dir / "models" / path).network
        play = evaluation.player(models.build(network.config), network.params)
        candidates.append(Candidate(path, role, play))
    return played.measure(candidates, x, rate).models


def near(sums: list[Sums], wanted: tuple[float, float, float], *, db: float, nmr_db: float, share: float) -> None:
    found = played.figures(sums)
    assert found["ESR"] == pytest.approx(wanted[0], abs=db), found
    assert found["NMR"] == pytest.approx(wanted[1], abs=nmr_db), found
    assert found["audible"] == pytest.approx(wanted[2], abs=share), found


BROADCAST = ("nam/broadcast_tcn_teacher.nam", "published_students/broadcast_tcn_student.nam")
MESA = ("guitarml/MesaMiniRec_HighGain_DirectOut.json", "published_students/mesa_lstm_student.json")


@pytest.mark.parametrize(
    ("paths", "teacher", "student"),
    [
        (BROADCAST, (-25.6, 14.0, 0.73), (-11.8, 0.2, 0.77)),
        (MESA, (-23.4, 25.5, 0.79), (-11.6, -4.2, 0.73)),
    ],
)
def test_published_models_on_high_playing(
    paths: tuple[str, str], teacher: tuple[float, ...], student: tuple[float, ...], data_dir: Path
) -> None:
    """What was found with other notes of the same kind at full level: within what ten seconds of notes tell."""
    compared = found_by(data_dir, played.own_sets(44_100)[1:2], 44_100, *paths)
    for model, wanted in zip(compared, (teacher, student), strict=True):
        near(model.teacher, wanted, db=3.0, nmr_db=6.0, share=0.15)


def test_published_models_on_a_recorded_guitar(data_dir: Path) -> None:
    """Golden: changes only if the definition of the figures does. The teacher at 32 times its rate is within -84 dB."""
    x, rate = soundfile.read(data_dir / "audio" / "guitar_1" / "input_reroute.wav")
    teacher, student = found_by(data_dir, x[None], rate, *BROADCAST)
    near(teacher.own, (-29.3, -27.2, 0.0), db=0.1, nmr_db=0.1, share=0.0)
    near(student.own, (-39.1, -38.0, 0.0), db=0.1, nmr_db=0.1, share=0.0)
    near(student.teacher, (-7.5, -4.2, 0.807), db=0.1, nmr_db=0.1, share=0.01)
