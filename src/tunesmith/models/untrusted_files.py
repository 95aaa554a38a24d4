"""Files of a model that may come from a stranger: nothing in them may run, nothing lead away."""

import json
import os
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch

from tunesmith.errors import ModelError, SafetyError
from tunesmith.runtime.links import is_inside

CODE = re.compile(r"_?(attn|experts)_implementation.*|use_kernels?.*|kernel_config")
MAX_JSON = 4_000_000  # bytes; the config of a model with 20,000 labels has 1.5 million
MAX_PICKLE = 64_000_000  # bytes of opcodes; the tensors themselves lie outside them
DESCRIPTIONS = (
    "config.json",
    "tokenizer_config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
)

# What torch itself writes for a dictionary of tensors, and nothing else.
KINDS = ["Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"]
ALLOWED = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.nn.parameter.Parameter",
    "torch.storage.UntypedStorage",
    "torch.Size",
    "torch.device",
    *(f"torch.{kind}Storage" for kind in KINDS),
}


def read_json(file: Path) -> dict[str, Any]:
    """Read one JSON object of bounded size.

    Raises ModelError (MODEL-CORRUPT) if it is not one, SafetyError (UNSAFE-SIZE) if too large.
    """
    if file.stat().st_size > MAX_JSON:
        raise SafetyError("UNSAFE-SIZE", file.name, f"larger than {MAX_JSON:,} bytes; refused")
    try:
        value = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ModelError("MODEL-CORRUPT", file.name, f"not valid JSON: {reason}") from None
    if not isinstance(value, dict):
        raise ModelError("MODEL-CORRUPT", file.name, "not a JSON object")
    return value


def refuse_own_python(folder: Path, name: str) -> None:
    """Raise SafetyError if the folder asks for Python of its own."""
    for file in DESCRIPTIONS:
        if (folder / file).is_file() and "auto_map" in read_json(folder / file):
            raise SafetyError(
                "UNSAFE-CODE", f"model {name!r}", "ships its own Python; not supported"
            )


def refuse_ways_out(folder: Path) -> None:
    """Raise SafetyError if a file of the folder is a link to somewhere else."""
    for file in sorted(folder.iterdir()):
        inside(folder, file.name)


def read_config(folder: Path) -> dict[str, Any]:
    """Read a model's config.json without the keys that choose code, which may be the hub's.

    Such as `attn_implementation`: transformers would fetch the kernel that it names.
    """
    config: dict[str, Any] = _without_code(read_json(folder / "config.json"))
    return config


def _without_code(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_code(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {key: _without_code(part) for key, part in value.items() if not CODE.fullmatch(key)}


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file that lies in the folder.

    Links are followed. From a snapshot of the hub's cache they may lead to the blobs of the
    same repository. Raises SafetyError (UNSAFE-PATH) for every other way out.
    """
    root = folder.resolve()
    allowed = [root]
    if root.parent.name == "snapshots" and root.parent.parent.name.startswith("models--"):
        allowed.append(root.parent.parent / "blobs")
    if "\\" in name or "\0" in name or not is_inside(folder / name, *allowed):
        raise SafetyError("UNSAFE-PATH", name, "leads out of the model's folder; refused")
    return folder / name


def load_pickle(file: Path) -> Any:
    """Load a file that `torch.save` wrote, tensors on the CPU, after looking at its opcodes.

    Raises SafetyError if it names anything but tensors, ModelError if it cannot be read.
    """
    refuse_pickle(file)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises a dozen kinds for a damaged file, and nothing else runs in here. Its own
        # message advises weights_only=False: never repeat it.
        reason = f"not a readable dictionary of tensors ({type(error).__name__})"
        raise ModelError("MODEL-CORRUPT", file.name, reason) from None


def refuse_pickle(file: Path) -> None:
    """Raise SafetyError if unpickling would need anything that torch's tensors do not."""
    if os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"):
        variable = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
        raise SafetyError("UNSAFE-ENV", variable, "is set; no pickle is read", "unset it")
    strange = sorted(set(globals_of(file)) - ALLOWED)
    if strange:
        names = ", ".join(strange[:3])
        raise SafetyError("UNSAFE-PICKLE", file.name, f"contains code objects ({names}); refused")


def globals_of(file: Path) -> Iterator[str]:
    """Yield every `module.name` that the pickles in a file refer to, running none of them."""
    try:
        if zipfile.is_zipfile(file):
            yield from _globals_of_zip(file)
        else:
            with file.open("rb") as stream:
                yield from _globals_of_legacy(stream)
    except (ValueError, EOFError, IndexError, OverflowError, zipfile.BadZipFile) as error:
        raise ModelError("MODEL-CORRUPT", file.name, f"not readable ({error})") from None


def _globals_of_zip(file: Path) -> Iterator[str]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".pkl"):
                continue
            if member.file_size > MAX_PICKLE:
                raise SafetyError("UNSAFE-SIZE", f"{file.name}/{member.filename}", "too large")
            with archive.open(member) as stream:
                yield from _globals_of_stream(stream)


def _globals_of_legacy(stream: IO[bytes]) -> Iterator[str]:
    # Five pickles one after the other (magic number, protocol, system, object, keys of the
    # storages), then raw tensors. A plain pickle ends after the first.
    for _ in range(5):
        yield from _globals_of_stream(stream)
        if not stream.read(1):
            return
        stream.seek(-1, os.SEEK_CUR)


def _globals_of_stream(stream: IO[bytes]) -> Iterator[str]:
    strings: list[str] = []  # pushed last; enough to know what STACK_GLOBAL takes
    memo: dict[int, str] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        index = argument if isinstance(argument, int) else 0
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(strings[-2:]) if len(strings) > 1 else "an unnamed object"
        elif opcode.name.startswith("EXT"):
            yield f"extension {argument}"
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = strings[-1] if strings else "?"
        elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[index] = strings[-1] if strings else "?"
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            strings.append(memo.get(index, "?"))
        elif isinstance(argument, str):
            strings.append(argument)
