"""The `metadata` object of a JSON model file. Players ignore keys in it that they do not know."""

from weights_import.json_text import plain
from weights_import.model_file import fault


def of(document: dict) -> dict:
    """The metadata of a document: an object, or null or absent, which are both {}. So for its `training`."""
    found = document.get("metadata")
    training = found.get("training") if isinstance(found, dict) else None
    for key, value in {"metadata": found, "metadata.training": training}.items():
        if value is not None and not isinstance(value, dict):
            raise fault(key, "must be an object or null", value)
    return found or {}


def about(note: dict, how: dict[str, str]) -> dict:
    """A note that also says how some values of the file were found, by their keys."""
    return {**note, "notes": {**note.get("notes", {}), **how}} if how else note


def with_note(document: dict, note: dict, **changed: float) -> dict:
    """A copy of a document whose metadata has other values and says under `training.jaxalias` what was done.

    What the trainer left under `training` stays.
    """
    metadata = of(document)
    training = {**(metadata.get("training") or {}), "jaxalias": plain(note, "training")}
    return {**document, "metadata": {**metadata, **changed, "training": training}}
