"""Train the baseline for longer, and let the blocks learn faster: python3 train.py, or by torchrun."""

from baseline import Settings, train

if __name__ == "__main__":
    train(Settings(more_iterations=2.0, block_rate=0.03))
