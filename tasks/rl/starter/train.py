"""Trains five policies by PPO and writes them to checkpoints/: python3 train.py [--minutes M] [--steps N]"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from training import main

if __name__ == "__main__":
    main()
