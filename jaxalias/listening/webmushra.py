r"""A listening test as a configuration of webMUSHRA: one YAML file and the sounds [disk].

The YAML is written line by line, because webMUSHRA's parser in the browser supports only a part of the language: it
reads "- - random" as text, decodes \u escapes wrongly, and needs lists in the form below.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxalias import disk
from jaxalias.listening.stimuli import REFERENCE, Trial
from jaxalias.signals import audio_files

TRAINING = "training"
"""The practice trial; analyses leave it out."""
_WELCOME = (
    "You will hear short clips in several versions, one of them the reference itself, hidden. Rate how close each "
    "version is to the reference: 100 for no audible difference, less the more it differs. One version of each clip "
    "has to be rated 100."
)
_VOLUME = "Set a volume that is comfortable and loud enough for small differences. Leave it there during the test."


def write(folder: Path, title: str, test_id: str, sample_rate: int, trials: Sequence[Trial]) -> list[Path]:
    """Write `test_id`.yaml and the folder `test_id` of sounds. Copy both to webMUSHRA's folder `configs`.

    webMUSHRA randomises the order of trials and of stimuli for every listener, and adds the hidden reference to the
    stimuli. Sounds are 16-bit WAV files with neutral names.

    Args:
        folder: is made if it does not exist.
        title: of the test.
        test_id: unique name of the test (`stimuli.test_id`).
        sample_rate: Hz.
        trials: matched (see `listening.match`), in the order of the file; the first is also the practice trial.

    Returns:
        The paths, the YAML first.

    Raises:
        AudioFileError, OSError: the files cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sounds, names = [], []
    for number, trial in enumerate(trials, 1):
        named = {}
        for index, (stimulus, y) in enumerate(trial.stimuli.items()):
            path = folder / test_id / f"{number:02}_{index}.wav"
            with audio_files.writing(path, sample_rate, "16") as sink:
                sink.write(y)
            sounds.append(path)
            named[stimulus] = f"configs/{test_id}/{path.name}"
        names.append(named)
    config = folder / f"{test_id}.yaml"
    disk.write_text(config, _configuration(title, test_id, trials, names))
    return [config, *sounds]


def _configuration(title: str, test_id: str, trials: Sequence[Trial], names: Sequence[dict[str, str]]) -> str:
    practice = _page(TRAINING, "Practice", "The scores of this page are not used.", names[0])
    rated = ["-", "    - random"]
    for trial, named in zip(trials, names, strict=True):
        rated += _indented(_page(trial.name, "Rating", "", named))
    volume = {"type": "volume", "id": "volume", "name": "Volume", "content": _VOLUME}
    finish = {"type": "finish", "name": "Thank you", "content": "Please send the results."}
    lines = [
        *_pairs({"testname": title, "testId": test_id, "bufferSize": 2048, "stopOnErrors": True}),
        *_pairs({"showButtonPreviousPage": True, "remoteService": "service/write.php"}),
        "pages:",
        *_indented(_item({"type": "generic", "id": "welcome", "name": title, "content": _WELCOME})),
        *_indented(_item({**volume, "stimulus": names[0][REFERENCE], "defaultVolume": 0.5})),
        *_indented(practice),
        *_indented(rated),
        *_indented(_item({**finish, "showResults": False, "writeResults": True})),
        "      questionnaire:",
        *_indented(_item({"type": "text", "label": "Name", "name": "name"}), 8),
    ]
    return "\n".join(lines) + "\n"


def _page(trial: str, title: str, content: str, named: dict[str, str]) -> list[str]:
    head = {"type": "mushra", "id": trial, "name": title, "content": content}
    options = {"showWaveform": False, "enableLooping": True, "createAnchor35": False, "createAnchor70": False}
    stimuli = {stimulus: path for stimulus, path in named.items() if stimulus != REFERENCE}
    return [
        *_item({**head, **options, "reference": named[REFERENCE]}),
        "  stimuli:",
        *_indented(_pairs(stimuli), 6),
    ]


def _item(values: Mapping[str, object]) -> list[str]:
    first, *others = _pairs(values)
    return [f"- {first}", *_indented(others, 2)]


def _pairs(values: Mapping[str, object]) -> list[str]:
    """Lines of YAML. JSON values are valid YAML; names with special characters are quoted."""
    plain = {key: key if key.isalnum() else json.dumps(key, ensure_ascii=False) for key in values}
    return [f"{plain[key]}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]


def _indented(lines: Sequence[str], by: int = 4) -> list[str]:
    return [" " * by + line for line in lines]
