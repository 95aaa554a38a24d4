"""Train one encoder, as the config says.

python train.py                                   real model, real data, no network
python train.py optimizer.lr=3e-5
python train.py data=files data.train_file=reviews.csv data.split.validation=0.1
python train.py resume=auto                       go on with the newest unfinished run
"""

import hydra
from omegaconf import DictConfig

from tunesmith.cli.entry import run_cli, train_from_config


# Defined here: Hydra looks for config_path beside the file that defines this function.
@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    return train_from_config(cfg)


if __name__ == "__main__":
    run_cli(main)
